/* The C twin of the environment's compiled step, on the kernel's own records.
 *
 * It is the yardstick of benchmarks/env_speed.py: what kernel/act.py does for the engine's default policy, a command a
 * step, servers that are never short of KV blocks, and none of the rest (hooks, preemption, scores, prefix caching,
 * swapping). Whatever else comes up ends it with UNSUPPORTED. Records are laid out as in kernel/tables.py: the types
 * ARRIVAL_t, REQUEST_t ... SIMULATOR_t, AGENT_t are written before this text by env_twin.py. Observations, masks,
 * terms and rewards equal the kernel's bit for bit.
 */
#include <math.h>
#include <stdint.h>

typedef int64_t i64;
typedef uint64_t u64;
typedef unsigned __int128 u128;

enum { UNSUPPORTED = -1, GO_ON_LOOP = -2 };
enum { FINISHED = 0, STALLED = 1, HORIZON = 2, DECISION = 10 };
enum { NOTHING = 0, OPEN = 2 };
enum { FREE = 0, WAITING = 1, RUNNING = 2, STATUS_FINISHED = 3 };
enum { NOWHERE = 0, OLDEST = 1, SHORTEST = 2 };
#define MAX_JUMP (1 << 14)
#define LONG_PS 1000000000000000LL
#define PS_PER_S 1e12
#define UNLIMITED 549755813888.0
#define ABSENT (-1.0f)

static inline i64 least(i64 a, i64 b) { return a < b ? a : b; }
static inline i64 most(i64 a, i64 b) { return a > b ? a : b; }
static inline REQUEST_t *request_at(const SIMULATOR_t *s, i64 row) { return (REQUEST_t *)s->requests + row; }
static inline HIDDEN_t *hidden_at(const SIMULATOR_t *s, i64 row) { return (HIDDEN_t *)s->hidden + row; }
static inline i64 blocks_for(const SIMULATOR_t *s, i64 tokens) {
    return (tokens + s->block_size - 1) >> (s->block_bits - 1);
}
static inline int is_decoding(const REQUEST_t *r) { return r->computed_tokens >= r->prefill_target_tokens; }

static inline void add(i64 *total, i64 a, i64 b) {
    u128 value = ((u128)(u64)total[0] << 64 | (u64)total[1]) + (u128)(u64)a * (u64)b;
    total[0] = (i64)(value >> 64), total[1] = (i64)value;
}
static inline void subtract(i64 *total, i64 a, i64 b) {
    u128 value = ((u128)(u64)total[0] << 64 | (u64)total[1]) - (u128)(u64)a * (u64)b;
    total[0] = (i64)(value >> 64), total[1] = (i64)value;
}

/* heaps of ENTRY: smallest (key, tie) first */

static inline int before(const ENTRY_t *a, const ENTRY_t *b) {
    return (a->key < b->key) | ((a->key == b->key) & (a->tie < b->tie));
}
static void rise(ENTRY_t *heap, i64 place, ENTRY_t entry) {
    while (place > 0 && !before(&heap[(place - 1) >> 1], &entry))
        heap[place] = heap[(place - 1) >> 1], place = (place - 1) >> 1;
    heap[place] = entry;
}
static i64 push(ENTRY_t *heap, i64 count, double key, i64 tie, i64 row) {
    rise(heap, count, (ENTRY_t){.key = key, .tie = tie, .row = row});
    return count + 1;
}
static i64 pop(ENTRY_t *heap, i64 count) {
    if (--count > 0) {
        i64 place = 0, right = 2;
        for (; right < count; right = 2 * place + 2) {
            i64 smaller = right - before(&heap[right - 1], &heap[right]);
            heap[place] = heap[smaller], place = smaller;
        }
        if (right == count) heap[place] = heap[right - 1], place = right - 1;
        rise(heap, place, heap[count]);
    }
    return count;
}

/* the window */

static inline i64 window_size(const AGENT_t *a) { return a->num_oldest + a->num_shortest; }
static inline i64 row_at(const AGENT_t *a, i64 place) {
    return ((i64 *)a->window)[place < a->num_oldest ? place : place - a->num_oldest + a->window_oldest];
}
static inline int comes_first(const SIMULATOR_t *s, int part, i64 row, i64 other) {
    if (part == SHORTEST && hidden_at(s, row)->key != hidden_at(s, other)->key)
        return hidden_at(s, row)->key < hidden_at(s, other)->key;
    return request_at(s, row)->id < request_at(s, other)->id;
}
static void insert(SIMULATOR_t *s, AGENT_t *a, int part, i64 row) {
    i64 first = part == OLDEST ? 0 : a->window_oldest, *window = (i64 *)a->window;
    i64 place = first + (part == OLDEST ? a->num_oldest++ : a->num_shortest++);
    hidden_at(s, row)->shown = part;
    for (; place > first && !comes_first(s, part, window[place - 1], row); place--) window[place] = window[place - 1];
    window[place] = row;
}
static void take_out(SIMULATOR_t *s, AGENT_t *a, int part, i64 row) {
    i64 *window = (i64 *)a->window, place = part == OLDEST ? 0 : a->window_oldest;
    i64 end = place + (part == OLDEST ? a->num_oldest-- : a->num_shortest--);
    hidden_at(s, row)->shown = NOWHERE;
    while (window[place] != row) place++;
    for (; place + 1 < end; place++) window[place] = window[place + 1];
}
static void count_unseen(AGENT_t *a, const REQUEST_t *r, i64 sign) {
    double predicted = r->predicted_output_tokens;
    i64 tokens = isnan(predicted) ? r->max_output_tokens : (i64)fmin(fmax(predicted, 0.0), 1e9);
    a->num_unseen += sign, a->unseen_prompt_tokens += sign * r->prompt_tokens;
    a->unseen_predicted_tokens += sign * tokens;
}
static i64 without_stale(SIMULATOR_t *s, ENTRY_t *heap, i64 count) {
    while (count > 0) {
        REQUEST_t *r = request_at(s, heap->row);
        if (hidden_at(s, heap->row)->shown == NOWHERE && r->status == WAITING && r->id == heap->tie) break;
        count = pop(heap, count);
    }
    return count;
}
static void refill_shortest(SIMULATOR_t *s, AGENT_t *a) {
    ENTRY_t *keys = (ENTRY_t *)a->keys;
    a->num_keys = without_stale(s, keys, a->num_keys);
    if (a->num_keys == 0) return;
    count_unseen(a, request_at(s, keys->row), -1);
    insert(s, a, SHORTEST, keys->row);
}
static void refill_oldest(SIMULATOR_t *s, AGENT_t *a) {
    ENTRY_t *ages = (ENTRY_t *)a->ages;
    a->num_ages = without_stale(s, ages, a->num_ages);
    i64 row = a->num_ages > 0 ? ages->row : -1, shown = -1;
    for (i64 place = a->window_oldest; place < a->window_oldest + a->num_shortest; place++) {
        i64 each = ((i64 *)a->window)[place];
        if (shown < 0 || request_at(s, each)->id < request_at(s, shown)->id) shown = each;
    }
    if (shown >= 0 && (row < 0 || request_at(s, shown)->id < request_at(s, row)->id)) {
        take_out(s, a, SHORTEST, shown), insert(s, a, OLDEST, shown), refill_shortest(s, a);
    } else if (row >= 0) {
        count_unseen(a, request_at(s, row), -1), insert(s, a, OLDEST, row);
    }
}
static int join(SIMULATOR_t *s, AGENT_t *a, i64 row) {
    for (int part = OLDEST; part <= SHORTEST; part++) {
        i64 first = part == OLDEST ? 0 : a->window_oldest;
        i64 room = part == OLDEST ? a->window_oldest : a->window_waiting - a->window_oldest;
        if ((part == OLDEST ? a->num_oldest : a->num_shortest) < room) {
            insert(s, a, part, row);
            return 0;
        }
        if (room == 0) continue;
        i64 last = ((i64 *)a->window)[first + room - 1];
        if (comes_first(s, part, row, last)) take_out(s, a, part, last), insert(s, a, part, row), row = last;
    }
    HIDDEN_t *h = hidden_at(s, row);
    h->shown = NOWHERE, h->score = -1.0;
    count_unseen(a, request_at(s, row), 1);
    if (a->num_ages == a->heap_capacity || a->num_keys == a->heap_capacity) return UNSUPPORTED;
    a->num_ages = push((ENTRY_t *)a->ages, a->num_ages, 0.0, request_at(s, row)->id, row);
    a->num_keys = push((ENTRY_t *)a->keys, a->num_keys, h->key, request_at(s, row)->id, row);
    return 0;
}

/* admission */

static inline int may_admit(const SIMULATOR_t *s) { return s->budget_tokens > 0 && s->num_running < s->max_running; }
static inline i64 tokens_wanted(const SIMULATOR_t *s, const REQUEST_t *r) {
    i64 wanted = r->prompt_tokens + r->generated_tokens - r->computed_tokens, threshold = s->long_prefill_token_threshold;
    return 0 < threshold && threshold < wanted && !s->lone ? threshold : wanted;
}
static i64 tokens_on_entry(const SIMULATOR_t *s, i64 row) {
    const REQUEST_t *r = request_at(s, row);
    i64 tokens = tokens_wanted(s, r);
    if (tokens > s->budget_tokens && !s->chunked_prefill) return 0;
    tokens = least(tokens, s->budget_tokens);
    i64 needed = blocks_for(s, r->computed_tokens + tokens) - r->kv_blocks;
    if (s->reserve_full_isl) needed = most(needed, blocks_for(s, r->prompt_tokens + r->generated_tokens) - r->kv_blocks);
    if (s->num_running > 0) needed += s->watermark_blocks;
    return needed > s->free_kv_blocks || s->num_running >= s->max_running ? 0 : tokens;
}
static int any_admissible(const SIMULATOR_t *s, const AGENT_t *a) {
    if (may_admit(s))
        for (i64 place = 0; place < window_size(a); place++)
            if (tokens_on_entry(s, row_at(a, place)) > 0) return 1;
    return 0;
}
static void schedule(SIMULATOR_t *s, i64 row, REQUEST_t *r, i64 tokens) {
    i64 blocks = blocks_for(s, r->computed_tokens + tokens);
    s->free_kv_blocks -= blocks - r->kv_blocks, r->kv_blocks = blocks;
    ((CHUNK_t *)s->batch)[s->num_batch++] = (CHUNK_t){.row = row, .tokens = tokens};
    hidden_at(s, row)->scheduled_tokens = tokens;
    s->budget_tokens -= tokens;
}
static void admit(SIMULATOR_t *s, AGENT_t *a, i64 row) {
    REQUEST_t *r = request_at(s, row);
    i64 tokens = tokens_on_entry(s, row), *running = (i64 *)a->running;
    r->status = RUNNING;
    if (hidden_at(s, row)->shown == OLDEST) take_out(s, a, OLDEST, row), refill_oldest(s, a);
    else take_out(s, a, SHORTEST, row), refill_shortest(s, a);
    s->num_waiting--;
    r->admit_seq = s->num_admissions++;
    r->prefill_target_tokens = r->prompt_tokens + r->generated_tokens;
    r->previous = s->last_running, r->next = -1;
    if (s->last_running >= 0) request_at(s, s->last_running)->next = row;
    else s->first_running = row;
    s->last_running = row, s->num_running++;
    i64 num = least(a->num_shown_running + 1, a->window_running);
    for (i64 place = num - 1; place > 0; place--) running[place] = running[place - 1];
    if (num > 0) running[0] = row;
    a->num_shown_running = num;
    schedule(s, row, r, tokens);
}

/* the cohort */

static inline i64 phase_of_next(const SIMULATOR_t *s) { return -s->cohort_clock & (s->block_size - 1); }
static inline void make_current(const SIMULATOR_t *s, REQUEST_t *r, HIDDEN_t *h) {
    i64 passes = s->cohort_clock - h->stamp;
    r->computed_tokens += passes, r->generated_tokens += passes, h->stamp = s->cohort_clock;
}
static int join_cohort(SIMULATOR_t *s, i64 row) {
    REQUEST_t *r = request_at(s, row);
    HIDDEN_t *h = hidden_at(s, row);
    if (s->num_cohort_ends == s->capacity) return UNSUPPORTED;
    h->together = 1, h->stamp = s->cohort_clock;
    h->phase = (phase_of_next(s) + r->computed_tokens) & (s->block_size - 1);
    ((i64 *)s->cohort_phases)[h->phase]++;
    s->num_cohort++, s->cohort_kv_tokens += r->computed_tokens;
    double end = (double)(s->cohort_clock + h->output_tokens - r->generated_tokens);
    s->num_cohort_ends = push((ENTRY_t *)s->cohort_ends, s->num_cohort_ends, end, r->admit_seq, row);
    return 0;
}
static i64 passes_within(const SIMULATOR_t *s, i64 free, i64 limit) {
    i64 bits = s->block_bits - 1, phase = phase_of_next(s);
    if (((limit >> bits) + 1) * s->num_cohort <= free) return limit;
    i64 rounds = free / s->num_cohort, passes = rounds << bits;
    free -= rounds * s->num_cohort;
    for (; passes < limit; passes++) {
        phase = (phase - 1) & (s->block_size - 1);
        if ((free -= ((i64 *)s->cohort_phases)[phase]) < 0) break;
    }
    return least(passes, limit);
}
static inline i64 span_of(i64 passes, i64 first, i64 growth) {
    return passes * first + growth * (passes * (passes - 1) >> 1);
}
static void take_blocks(SIMULATOR_t *s, i64 passes, i64 first, i64 growth) {
    i64 size = s->block_size, rounds = (passes - 1) >> (s->block_bits - 1), rest = passes - 1 - rounds * size;
    i64 phase = phase_of_next(s), count = 0, sum_x = 0, sum_xx = 0;
    for (i64 j = 1; j < least(passes, size + 1); j++) {
        phase = (phase - 1) & (size - 1);
        i64 members = ((i64 *)s->cohort_phases)[phase], times = rounds + (j <= rest);
        i64 pairs = times * (times - 1) >> 1, squares = pairs * (2 * times - 1);
        count += members * times, sum_x += members * (times * j + size * pairs);
        sum_xx += members * (3 * (times * j * j + 2 * j * size * pairs) + size * size * squares);
    }
    add(s->integral_kv_blocks, count, span_of(passes, first, growth));
    subtract(s->integral_kv_blocks, first, sum_x);
    subtract(s->integral_kv_blocks, growth, (i64)((u64)(sum_xx - 3 * sum_x) / 6));
    s->free_kv_blocks -= count;
}

/* coming and going */

static int enter_system(SIMULATOR_t *s, AGENT_t *a, const ARRIVAL_t *arrival) {
    if (s->num_free_rows == 0) return UNSUPPORTED;
    i64 row = ((i64 *)s->free_rows)[--s->num_free_rows];
    REQUEST_t *r = request_at(s, row);
    HIDDEN_t *h = hidden_at(s, row);
    *r = (REQUEST_t){
        .id = s->next_id, .arrival_ps = arrival->arrival_ps, .prompt_tokens = arrival->prompt_tokens,
        .predicted_output_tokens = arrival->predicted_output_tokens,
        .initial_predicted_output_tokens = arrival->predicted_output_tokens,
        .prefill_target_tokens = arrival->prompt_tokens, .admit_seq = -1, .previous = -1, .next = -1,
        .status = WAITING, .first_token_ps = -1, .first_scheduled_ps = -1,
        .max_output_tokens = arrival->max_output_tokens, .predicted_lower_tokens = arrival->predicted_lower_tokens,
        .predicted_upper_tokens = arrival->predicted_upper_tokens, .true_output_tokens = -1,
        .priority = arrival->priority, .tenant = arrival->tenant, .ttft_limit_ps = arrival->ttft_limit_ps,
        .tpot_limit_ps = arrival->tpot_limit_ps, .e2e_limit_ps = arrival->e2e_limit_ps,
        .prefix_group = arrival->prefix_group, .prefix_tokens = arrival->prefix_tokens, .program = arrival->program,
        .first_hash = arrival->first_hash, .num_hashes = arrival->num_hashes,
    };
    double key = arrival->predicted_output_tokens;
    *h = (HIDDEN_t){.output_tokens = arrival->output_tokens, .barred = -1, .score = -1.0, .top_node = -1};
    h->key = isnan(key) ? INFINITY : key;
    s->longest_seen_tokens = most(s->longest_seen_tokens, arrival->prompt_tokens + arrival->output_tokens);
    add(s->integral_requests, 1, s->clock_ps - arrival->arrival_ps);
    add(s->integral_tokenless, 1, s->clock_ps - arrival->arrival_ps);
    s->num_tokenless++, s->num_waiting++, a->news = 1;
    return join(s, a, row);
}
static int take_arrivals(SIMULATOR_t *s, AGENT_t *a) {
    for (; s->next_arrival < s->num_arrivals; s->next_arrival++) {
        const ARRIVAL_t *arrival = (ARRIVAL_t *)s->arrivals + s->next_arrival;
        if (arrival->arrival_ps > s->clock_ps) return 0;
        i64 tokens = arrival->prompt_tokens + arrival->output_tokens;
        if (tokens > s->longest_tokens || blocks_for(s, tokens - 1) > s->num_kv_blocks) return UNSUPPORTED;
        if (enter_system(s, a, arrival)) return UNSUPPORTED;
        s->last_arrival_ps = arrival->arrival_ps, s->next_id++;
    }
    return s->last_chunk ? 0 : UNSUPPORTED;
}
static void leave_running(SIMULATOR_t *s, AGENT_t *a, i64 row, REQUEST_t *r) {
    if (r->previous >= 0) request_at(s, r->previous)->next = r->next;
    else s->first_running = r->next;
    if (r->next >= 0) request_at(s, r->next)->previous = r->previous;
    else s->last_running = r->previous;
    r->previous = r->next = -1, s->num_running--;
    i64 num = a->num_shown_running, place = 0, *running = (i64 *)a->running;
    while (place < num && running[place] != row) place++;
    if (place == num) return;
    for (; place + 1 < num; place++) running[place] = running[place + 1];
    num--;
    i64 earlier = num > 0 ? request_at(s, running[num - 1])->previous : s->last_running;
    if (earlier >= 0) running[num++] = earlier;
    a->num_shown_running = num;
}
static void finish(SIMULATOR_t *s, AGENT_t *a, i64 row, int was_decoding) {
    REQUEST_t *r = request_at(s, row);
    HIDDEN_t *h = hidden_at(s, row);
    if (h->together) {
        if (h->stamp < s->cohort_clock) make_current(s, r, h), r->kv_blocks = blocks_for(s, r->computed_tokens);
        ((i64 *)s->cohort_phases)[h->phase]--;
        s->num_cohort--, s->cohort_kv_tokens -= r->computed_tokens, h->together = 0;
    }
    s->free_kv_blocks += r->kv_blocks, r->kv_blocks = 0;
    leave_running(s, a, row, r);
    s->num_decoding -= was_decoding, s->num_finished++, r->status = FREE;
    ((DEPARTURE_t *)s->departures)[s->num_departures++] = (DEPARTURE_t){
        .id = r->id, .status = STATUS_FINISHED, .arrival_ps = r->arrival_ps,
        .first_scheduled_ps = r->first_scheduled_ps, .first_token_ps = r->first_token_ps, .finish_ps = s->clock_ps,
        .prompt_tokens = r->prompt_tokens, .output_tokens = h->output_tokens, .generated_tokens = r->generated_tokens,
        .predicted_output_tokens = r->initial_predicted_output_tokens, .priority = r->priority, .tenant = r->tenant,
        .ttft_limit_ps = r->ttft_limit_ps, .tpot_limit_ps = r->tpot_limit_ps, .e2e_limit_ps = r->e2e_limit_ps,
        .computed_tokens = r->computed_tokens,
    };
    ((i64 *)s->free_rows)[s->num_free_rows++] = row;
    a->news = 1;
}

/* an iteration */

static int schedule_cohort(SIMULATOR_t *s) {
    i64 needed = ((i64 *)s->cohort_phases)[phase_of_next(s)];
    if (s->num_cohort > s->budget_tokens || needed > s->free_kv_blocks) return UNSUPPORTED;
    if (s->num_cohort > 0) s->cohort_scheduled = 1, s->free_kv_blocks -= needed, s->budget_tokens -= s->num_cohort;
    return 0;
}
static int open_composition(SIMULATOR_t *s) {
    s->budget_tokens = s->max_batched_tokens, s->first_new_seq = s->num_admissions;
    s->num_batch = s->cohort_scheduled = s->shortage = s->num_left = 0;
    s->lone = s->num_running + s->num_waiting == 1;
    if (!s->cohort_formed && s->num_running > 0) return UNSUPPORTED;
    s->cohort_formed = 1;
    if (schedule_cohort(s)) return UNSUPPORTED;
    if (s->num_decoding == s->num_running) return 0;
    i64 row = s->last_running;
    for (i64 n = s->num_running - s->num_decoding - 1; n > 0; n--) row = request_at(s, row)->previous;
    for (; row >= 0 && s->budget_tokens > 0; row = request_at(s, row)->next) {
        REQUEST_t *r = request_at(s, row);
        if (is_decoding(r)) return UNSUPPORTED;
        i64 tokens = least(tokens_wanted(s, r), s->budget_tokens);
        if (blocks_for(s, r->computed_tokens + tokens) - r->kv_blocks > s->free_kv_blocks) return UNSUPPORTED;
        schedule(s, row, r, tokens);
    }
    return 0;
}
static i64 duration_of(const SIMULATOR_t *s) {
    const PROFILE_t *p = (PROFILE_t *)s->profile;
    i64 prefill = 0, two_f = 0, decodes = 0, kv = 0, last = p->table_len - 1;
    if (s->cohort_scheduled) decodes = s->num_cohort, kv = s->cohort_kv_tokens;
    for (i64 place = 0; place < s->num_batch; place++) {
        const CHUNK_t *chunk = (CHUNK_t *)s->batch + place;
        prefill += chunk->tokens;
        two_f += chunk->tokens * (2 * request_at(s, chunk->row)->computed_tokens + chunk->tokens);
    }
    i64 tokens = prefill + decodes, tiles = (i64)((u64)(tokens + p->tile_tokens - 1) / (u64)p->tile_tokens);
    i64 duration = p->base_ps + p->token_ps * tokens + ((i64 *)p->table)[least(tiles, last)];
    if (tiles > last) duration += (tiles - last) * p->tail_ps;
    if (decodes > 0) duration += p->decode_base_ps + p->decode_ps * decodes + p->kv_ps * kv;
    if (prefill > 0) {
        double root = rint((double)p->root_ps * sqrt((double)two_f * 0.5));
        duration += p->prefill_base_ps + (i64)root + p->square_ps * two_f;
    }
    return most(duration, 1);
}
static i64 passes_until(i64 gap, i64 first, i64 growth, i64 limit) {
    if (first >= gap || limit <= 1 || first > LONG_PS) return 1;
    if (growth == 0) return least(limit, (gap + first - 1) / first);
    if ((double)first * limit + 0.5 * growth * limit * (limit - 1.0) < 0.999 * gap) return limit;
    double b = first - 0.5 * growth;
    i64 passes = least(most((i64)((sqrt(b * b + 2.0 * growth * gap) - b) / growth), 1), limit);
    while (passes > 1 && span_of(passes - 1, first, growth) >= gap) passes--;
    while (passes < limit && span_of(passes, first, growth) < gap) passes++;
    return passes;
}
static i64 passes_alike(const SIMULATOR_t *s, i64 first, i64 growth) {
    i64 end = (i64)((ENTRY_t *)s->cohort_ends)->key - s->cohort_clock;
    i64 limit = least(least(end, s->wake_passes), MAX_JUMP), gap = s->until_ps - s->clock_ps + 1;
    limit = 1 + passes_within(s, s->free_kv_blocks, limit - 1);
    if (s->next_arrival < s->num_arrivals)
        gap = least(gap, ((ARRIVAL_t *)s->arrivals)[s->next_arrival].arrival_ps - s->clock_ps);
    return passes_until(gap, first, growth, limit);
}
static void integrate(SIMULATOR_t *s, i64 span) {
    add(s->integral_requests, s->num_running + s->num_waiting, span);
    add(s->integral_running, s->num_running, span);
    add(s->integral_kv_blocks, s->num_kv_blocks - s->free_kv_blocks, span);
    add(s->integral_tokenless, s->num_tokenless, span);
}
static int settle_chunks(SIMULATOR_t *s, AGENT_t *a, i64 start_ps) {
    for (i64 place = 0; place < s->num_batch; place++) {
        const CHUNK_t *chunk = (CHUNK_t *)s->batch + place;
        REQUEST_t *r = request_at(s, chunk->row);
        HIDDEN_t *h = hidden_at(s, chunk->row);
        h->scheduled_tokens = 0, s->processed_tokens += chunk->tokens, r->computed_tokens += chunk->tokens;
        if (r->first_scheduled_ps < 0) r->first_scheduled_ps = start_ps;
        if (r->computed_tokens < r->prompt_tokens + r->generated_tokens) continue;
        r->generated_tokens++;
        if (r->first_token_ps < 0) r->first_token_ps = s->clock_ps, s->num_tokenless--;
        if (r->generated_tokens == h->output_tokens) {
            finish(s, a, chunk->row, 0);
            continue;
        }
        s->num_decoding++;
        if (join_cohort(s, chunk->row)) return UNSUPPORTED;
    }
    return 0;
}
static int run_pass(SIMULATOR_t *s, AGENT_t *a) {
    i64 start_ps = s->clock_ps, first = duration_of(s), passes = 1, growth = 0;
    if (s->cohort_scheduled && s->num_batch == 0 && s->num_cohort == s->num_running) {
        growth = ((PROFILE_t *)s->profile)->kv_ps * s->num_cohort;
        passes = passes_alike(s, first, growth);
    }
    i64 span = span_of(passes, first, growth);
    integrate(s, span);
    if (passes > 1) take_blocks(s, passes, first, growth);
    s->clock_ps += span, s->num_iterations += passes;
    if (s->cohort_scheduled) {
        ENTRY_t *ends = (ENTRY_t *)s->cohort_ends;
        s->processed_tokens += passes * s->num_cohort;
        s->cohort_clock += passes, s->cohort_kv_tokens += passes * s->num_cohort;
        while (s->num_cohort_ends > 0 && (i64)ends->key <= s->cohort_clock) {
            i64 row = ends->row;
            s->num_cohort_ends = pop(ends, s->num_cohort_ends);
            finish(s, a, row, 1);
        }
        s->cohort_scheduled = 0;
    }
    return settle_chunks(s, a, start_ps);
}
static int move_idly(SIMULATOR_t *s, const AGENT_t *a) {
    i64 span = s->idle_step_ps;
    if (s->next_arrival < s->num_arrivals)
        span = least(span, ((ARRIVAL_t *)s->arrivals)[s->next_arrival].arrival_ps - s->clock_ps);
    else if (s->num_running == 0 && a->num_admissible == 0) return STALLED;
    integrate(s, span);
    s->clock_ps += span;
    return GO_ON_LOOP;
}
static int is_asked(SIMULATOR_t *s, AGENT_t *a) {
    i64 since = s->num_iterations - a->decided_at;
    if (a->news || since >= a->decision_interval || any_admissible(s, a)) {
        a->news = 0, a->decided_at = s->num_iterations;
        return 1;
    }
    s->wake_passes = least(a->wake_passes, a->decision_interval - since);
    return 0;
}
static int advance(SIMULATOR_t *s, AGENT_t *a) {
    for (;;) {
        if (s->deciding == NOTHING) {
            if (take_arrivals(s, a)) return UNSUPPORTED;
            if (s->clock_ps > s->until_ps) return HORIZON;
            if (s->num_running + s->num_waiting == 0) {
                if (s->next_arrival == s->num_arrivals) return FINISHED;
                s->clock_ps = ((ARRIVAL_t *)s->arrivals)[s->next_arrival].arrival_ps;
                continue;
            }
            if (s->num_departures + s->num_running + 1 > s->departures_capacity) return UNSUPPORTED;
            s->num_events++;
            if (open_composition(s)) return UNSUPPORTED;
            if (is_asked(s, a)) {
                s->deciding = OPEN;
                return DECISION;
            }
        }
        s->deciding = NOTHING;
        int outcome = s->budget_tokens < s->max_batched_tokens ? run_pass(s, a) : move_idly(s, a);
        if (outcome != 0 && outcome != GO_ON_LOOP) return outcome;
    }
}

/* rewards and observations */

static inline double seconds_between(const i64 *total, const i64 *since) {
    double upper = (double)(total[0] - since[0]) * 18446744073709551616.0;
    double difference = upper + ((double)(u64)total[1] - (double)(u64)since[1]);
    if (difference < 4611686018427387904.0) return (double)(total[1] - since[1]) / PS_PER_S;
    return difference / PS_PER_S;
}
static void begin_step(const SIMULATOR_t *s, AGENT_t *a) {
    a->since_ps = s->clock_ps, a->since_iterations = s->num_iterations, a->since_departures = s->num_departures;
    for (int word = 0; word < 2; word++)
        a->since_requests[word] = s->integral_requests[word], a->since_tokenless[word] = s->integral_tokenless[word];
}
static void settle(const SIMULATOR_t *s, AGENT_t *a) {
    i64 finished = 0, missed = 0;
    for (i64 place = a->since_departures; place < s->num_departures; place++) {
        const DEPARTURE_t *d = (DEPARTURE_t *)s->departures + place;
        i64 first = d->first_token_ps, finish = d->finish_ps;
        finished++;
        missed += (d->ttft_limit_ps >= 0 && first - d->arrival_ps > d->ttft_limit_ps) ||
                  (d->e2e_limit_ps >= 0 && finish - d->arrival_ps > d->e2e_limit_ps) ||
                  (d->tpot_limit_ps >= 0 && finish - first > d->tpot_limit_ps * (d->output_tokens - 1));
    }
    double terms[7] = {
        -seconds_between(s->integral_requests, a->since_requests),
        -seconds_between(s->integral_tokenless, a->since_tokenless), -0.0, -0.0, -(double)missed, (double)finished,
        -(double)a->invalid,
    };
    const double *weights = (double *)a->weights;
    double total = 0.0, *out = (double *)a->terms;
    for (int term = 0; term < 7; term++) out[term] = terms[term], total += weights[term] * terms[term];
    a->reward = total, a->dt_ps = s->clock_ps - a->since_ps;
    i64 iterations = s->num_iterations - a->since_iterations;
    if (iterations > 0) a->iteration_ps = (i64)((u64)a->dt_ps / (u64)iterations);
}
static inline float share(double part, double whole) { return whole < UNLIMITED ? (float)(part / whole) : 0.0f; }
static inline float squash(double value, float scale) {
    float x = (float)value;
    return x == x ? x / (fabsf(x) + scale) : ABSENT;
}
static void observe(const SIMULATOR_t *s, const AGENT_t *a) {
    float *out = (float *)a->observation, *end;
    double blocks = (double)s->num_kv_blocks, clock_s = 1.0 / PS_PER_S;
    out[0] = share((double)(s->num_kv_blocks - s->free_kv_blocks), blocks);
    out[1] = share((double)s->num_running, (double)s->max_running);
    out[2] = (float)((double)s->budget_tokens / (double)s->max_batched_tokens);
    out[3] = squash((double)s->num_running, 32.0f);
    out[4] = squash((double)(s->num_running - s->num_decoding), 4.0f);
    out[5] = squash((double)s->num_waiting, 32.0f);
    out[6] = squash((double)a->num_unseen, 32.0f);
    out[7] = squash((double)a->unseen_prompt_tokens, 32768.0f);
    out[8] = squash((double)a->unseen_predicted_tokens, 8192.0f);
    out[9] = squash((double)a->iteration_ps * clock_s, 0.05f);
    out[10] = 0.0f;
    out += 11, end = out + 6 * a->window_waiting;
    for (i64 place = 0; place < window_size(a); place++, out += 6) {
        const REQUEST_t *r = request_at(s, row_at(a, place));
        const i64 *num = r->num_preemptions;
        out[0] = squash((double)r->prompt_tokens, 512.0f), out[1] = squash((double)r->generated_tokens, 256.0f);
        out[2] = squash(r->predicted_output_tokens - (double)r->generated_tokens, 256.0f);
        out[3] = squash((double)(s->clock_ps - r->arrival_ps) * clock_s, 10.0f);
        out[4] = share((double)(blocks_for(s, r->prompt_tokens + r->generated_tokens) - r->kv_blocks), blocks);
        out[5] = squash((double)(num[0] + num[1] + num[2] + num[3]), 2.0f);
    }
    while (out < end) *out++ = ABSENT;
    end = out + 6 * a->window_running;
    for (i64 place = 0; place < a->num_shown_running; place++, out += 6) {
        const REQUEST_t *r = request_at(s, ((i64 *)a->running)[place]);
        i64 left = is_decoding(r) ? 0 : r->prefill_target_tokens - r->computed_tokens;
        out[0] = squash((double)r->computed_tokens, 512.0f), out[1] = squash((double)r->generated_tokens, 256.0f);
        out[2] = squash(r->predicted_output_tokens - (double)r->generated_tokens, 256.0f);
        out[3] = squash((double)(s->clock_ps - r->arrival_ps) * clock_s, 10.0f);
        out[4] = share((double)r->kv_blocks, blocks), out[5] = squash((double)left, 512.0f);
    }
    while (out < end) *out++ = ABSENT;
}
static void show(const SIMULATOR_t *s, AGENT_t *a) {
    int8_t *mask = (int8_t *)a->mask;
    const i64 *running = (i64 *)a->running;
    i64 end = 1 + a->window_waiting + a->window_running, newcomers = 0, shown = a->num_shown_running;
    for (i64 place = 0; place < shown; place++) {
        HIDDEN_t *h = hidden_at(s, running[place]);
        if (!h->together) continue;
        REQUEST_t *r = request_at(s, running[place]);
        make_current(s, r, h);
        r->kv_blocks = blocks_for(s, r->computed_tokens + s->cohort_scheduled);
    }
    a->allowed = a->mask, a->num_admissible = 0;
    for (i64 place = 0; place < end; place++) mask[place] = place == 0;
    if (s->deciding == OPEN && may_admit(s))
        for (i64 place = 0; place < window_size(a); place++)
            if (tokens_on_entry(s, row_at(a, place)) > 0) mask[1 + place] = 1, a->num_admissible++;
    if (s->deciding != NOTHING) {
        while (newcomers < shown && request_at(s, running[newcomers])->admit_seq >= s->first_new_seq) newcomers++;
        for (i64 place = newcomers; place < shown; place++) mask[1 + a->window_waiting + place] = 1;
    }
    observe(s, a);
}

/* a step */

static int obey(SIMULATOR_t *s, AGENT_t *a) {
    i64 command = a->command;
    a->invalid = 0;
    if (command < 0 || command > a->window_waiting + a->window_running || !((int8_t *)a->allowed)[command]) {
        a->invalid = 1;
        return 0;
    }
    if (command > a->window_waiting) return UNSUPPORTED;
    if (command > 0) {
        admit(s, a, row_at(a, command - 1));
        return 0;
    }
    s->budget_stop = s->budget_tokens <= 0 && s->num_waiting > 0 && s->num_running < s->max_running;
    s->wake_passes = least(a->wake_passes, a->num_admissible > 0 ? 1 : a->decision_interval);
    return 1;
}
static inline void ask_for(i64 address, i64 bytes) {
    for (i64 at = 0; at < bytes; at += 64) __builtin_prefetch((void *)(address + at), 0, 3);
}
static inline void ask_for_row(const SIMULATOR_t *s, i64 row) {
    __builtin_prefetch(request_at(s, row), 0, 3), __builtin_prefetch(hidden_at(s, row), 0, 3);
}
static inline void ask_for_those_after(const AGENT_t *agents, i64 place, i64 num) {
    if (place + 3 < num) {
        ask_for(agents[place + 3].simulator, 192);
        ask_for((i64) & ((SIMULATOR_t *)agents[place + 3].simulator)->step_by_step, 14 * 64);
    }
    if (place + 2 < num) {
        const AGENT_t *a = agents + place + 2;
        const SIMULATOR_t *s = (SIMULATOR_t *)a->simulator;
        for (i64 each = 0; each < a->num_shown_running; each++) ask_for_row(s, ((i64 *)a->running)[each]);
        ask_for(s->cohort_ends, 6 * 64);
        ask_for((i64)((ARRIVAL_t *)s->arrivals + s->next_arrival), 128);
        ask_for((i64)((DEPARTURE_t *)s->departures + s->num_departures), 192);
    }
    if (place + 1 < num) {
        const SIMULATOR_t *s = (SIMULATOR_t *)agents[place + 1].simulator;
        if (s->num_cohort_ends > 0) ask_for_row(s, ((ENTRY_t *)s->cohort_ends)->row);
    }
}
/* Step every server of AGENT[num] by its command; 0, or UNSUPPORTED: the rest is as it was. */
int env_twin_act(AGENT_t *agents, i64 num) {
    for (i64 place = 0; place < num; place++) {
        AGENT_t *a = agents + place;
        SIMULATOR_t *s = (SIMULATOR_t *)a->simulator;
        ask_for_those_after(agents, place, num);
        begin_step(s, a);
        int outcome = obey(s, a);
        if (outcome == 1) outcome = advance(s, a);
        else if (outcome == 0) outcome = DECISION;
        if (outcome == UNSUPPORTED) return UNSUPPORTED;
        a->outcome = outcome;
        settle(s, a);
        show(s, a);
    }
    return 0;
}
