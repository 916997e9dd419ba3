/* The C twin: the server of docs/model.md for one policy, vLLM v1's first come first served, from event to event.
 *
 * It is the yardstick of benchmarks/speed.py, written as one would who needs this policy and no other. It is of the
 * same kind as llmqgym/kernel: decoding requests form a cohort that advances in closed form (cohort.py), a shortage of
 * blocks dissolves it and the batch is served one by one. What only this policy allows is used: a deque instead of a
 * heap for the waiting queue, no hooks, no lists of held or skipped requests, no stale entries in the heap of ends.
 * Totals and departures equal the kernel's bit for bit; the tables ARRIVAL and DEPARTURE are those of kernel/tables.py.
 *
 *     cc -O3 -march=native -ffp-contract=off -shared -fPIC -o twin.so twin.c -lm
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int64_t i64;
typedef __int128 i128;

#define MAX_JUMP (1 << 15)
#define LONG_PS 1000000000000000LL
#define NONE (-1)

enum { FINISHED = 0, STALLED = 1, HORIZON = 2, NO_MEMORY = -1 };
enum { STATUS_FINISHED = 3, STATUS_REJECTED = 4, STATUS_UNFINISHED = 5 };

typedef struct {
    i64 arrival_ps, prompt_tokens, output_tokens, max_output_tokens;
    double predicted_output_tokens, predicted_lower_tokens, predicted_upper_tokens;
    i64 priority, tenant, ttft_limit_ps, tpot_limit_ps, e2e_limit_ps, prefix_group, prefix_tokens, program;
    i64 first_hash, num_hashes;
} arrival_t;

typedef struct {
    i64 id, status, arrival_ps, first_scheduled_ps, first_token_ps, finish_ps;
    i64 prompt_tokens, output_tokens, generated_tokens;
    double predicted_output_tokens;
    i64 priority, tenant, ttft_limit_ps, tpot_limit_ps, e2e_limit_ps;
    i64 num_preemptions[4], lost_tokens, swapped_blocks, computed_tokens, prefix_hit_tokens;
} departure_t;

typedef struct {
    i64 num_kv_blocks, block_size, max_running, max_batched_tokens, chunked_prefill, long_prefill_token_threshold;
    i64 watermark_blocks, reserve_full_isl, idle_step_ps, until_ps;
    i64 base, token, decode_base, decode, kv, prefill_base, root, square, tile, tail, table_len;
    const i64 *table;
} settings_t;

typedef struct {
    i64 outcome, clock_ps, num_iterations, num_events, num_departures, num_finished, num_rejected;
    i64 processed_tokens, lost_tokens, num_preemptions;
    i64 integral_requests[2], integral_running[2], integral_kv_blocks[2]; /* high and low half of 128 bits */
} totals_t;

/* A request in the system: two cache lines. */
typedef struct {
    i64 id, prompt, output;
    i64 computed, generated, target; /* as of `stamp` while in the cohort */
    i64 blocks, last_blocks;         /* held now; held when it finishes */
    i64 stamp;                       /* the cohort's clock when this row was last brought up to date */
    i64 first_scheduled_ps, first_token_ps, preemptions, lost;
    int32_t previous, next; /* neighbours in the running batch */
    int32_t phase;          /* (computed - cohort clock) mod block_size: constant while in the cohort */
    int32_t seq;            /* counts admissions */
} request_t;

typedef struct {
    i64 end; /* the cohort's clock after the member's last pass */
    int32_t seq, row;
} end_t;

typedef struct {
    i64 tokens;
    int32_t row;
} chunk_t;

typedef struct {
    settings_t s;
    const arrival_t *arrivals;
    i64 num_arrivals, next_arrival;
    departure_t *departures;
    totals_t *t;
    i64 clock, free_blocks, budget;
    /* tables of `capacity` rows */
    request_t *requests;
    int32_t *free_rows, *queue; /* a stack; a ring whose size is a power of two */
    end_t *ends;
    chunk_t *batch;
    i64 capacity, num_free_rows, queue_head, num_waiting, num_ends, num_batch;
    i64 num_running, first_running, last_running, num_admissions;
    /* the cohort */
    i64 formed, num_cohort, cohort_clock, clock_phase, cohort_tokens; /* clock_phase = cohort_clock mod block_size */
    i64 *phases;                                                      /* members by phase */
    i128 requests_x_time, running_x_time, blocks_x_time;
} sim_t;

#define UNLIKELY(x) __builtin_expect(!!(x), 0)

static inline i64 least(i64 a, i64 b) { return a < b ? a : b; }
static inline i64 blocks_for(const sim_t *sim, i64 tokens) {
    return (tokens + sim->s.block_size - 1) / sim->s.block_size;
}

/* ---- memory: grows with the requests in the system ---- */

static int grow(sim_t *sim) {
    i64 old = sim->capacity, size = old ? 2 * old : 1024;
    request_t *requests = realloc(sim->requests, size * sizeof *requests);
    if (requests) sim->requests = requests;
    int32_t *rows = realloc(sim->free_rows, size * sizeof *rows);
    if (rows) sim->free_rows = rows;
    end_t *ends = realloc(sim->ends, size * sizeof *ends);
    if (ends) sim->ends = ends;
    chunk_t *batch = realloc(sim->batch, size * sizeof *batch);
    if (batch) sim->batch = batch;
    int32_t *queue = malloc(size * sizeof *queue);
    if (!requests || !rows || !ends || !batch || !queue) {
        free(queue);
        return 0;
    }
    for (i64 i = 0; i < sim->num_waiting; i++) queue[i] = sim->queue[(sim->queue_head + i) & (old - 1)];
    free(sim->queue);
    sim->queue = queue, sim->queue_head = 0;
    for (i64 row = size - 1; row >= old; row--) rows[sim->num_free_rows++] = (int32_t)row;
    sim->capacity = size;
    return 1;
}

static void release_memory(sim_t *sim) {
    free(sim->requests), free(sim->free_rows), free(sim->ends), free(sim->batch), free(sim->queue), free(sim->phases);
}

/* ---- heap of ends: smallest (end, seq) first ---- */

static inline int before(end_t a, end_t b) { return a.end < b.end || (a.end == b.end && a.seq < b.seq); }

/* Fill the hole at `place` with x: let the hole sink to a leaf without asking x, and x rise from there. Who of two
 * children is the smaller cannot be predicted, hence no branch on it. */
static void sift_down(end_t *heap, i64 count, i64 place, end_t x) {
    i64 top = place, child;
    while ((child = 2 * place + 2) < count) {
        end_t left = heap[child - 1], right = heap[child];
        child -= (left.end < right.end) | ((left.end == right.end) & (left.seq < right.seq));
        heap[place] = heap[child];
        place = child;
    }
    if (child == count) {
        heap[place] = heap[child - 1];
        place = child - 1;
    }
    for (; place > top && before(x, heap[(place - 1) / 2]); place = (place - 1) / 2)
        heap[place] = heap[(place - 1) / 2];
    heap[place] = x;
}

static inline void push_end(sim_t *sim, end_t x) {
    i64 place = sim->num_ends++;
    while (place > 0 && before(x, sim->ends[(place - 1) / 2])) {
        sim->ends[place] = sim->ends[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    sim->ends[place] = x;
}

static inline void pop_end(sim_t *sim) {
    i64 count = --sim->num_ends;
    if (count > 0) sift_down(sim->ends, count, 0, sim->ends[count]);
}

/* ---- the running batch, a list in the order of admission ---- */

static inline void append_running(sim_t *sim, int32_t row) {
    request_t *r = &sim->requests[row];
    r->previous = (int32_t)sim->last_running, r->next = NONE;
    if (sim->last_running >= 0) sim->requests[sim->last_running].next = row;
    else sim->first_running = row;
    sim->last_running = row;
    sim->num_running++;
}

static inline void remove_running(sim_t *sim, request_t *r) {
    if (r->previous >= 0) sim->requests[r->previous].next = r->next;
    else sim->first_running = r->next;
    if (r->next >= 0) sim->requests[r->next].previous = r->previous;
    else sim->last_running = r->previous;
    sim->num_running--;
}

/* ---- the cohort ---- */

static inline int decoding(const request_t *r) { return r->computed >= r->target; }

static inline end_t enrol(sim_t *sim, int32_t row) {
    request_t *r = &sim->requests[row];
    i64 phase = r->computed % sim->s.block_size - sim->clock_phase;
    r->phase = (int32_t)(phase < 0 ? phase + sim->s.block_size : phase);
    r->stamp = sim->cohort_clock;
    sim->phases[r->phase]++;
    sim->num_cohort++;
    sim->cohort_tokens += r->computed;
    return (end_t){sim->cohort_clock + r->output - r->generated, r->seq, row};
}

static void form(sim_t *sim) {
    sim->formed = 1;
    for (i64 row = sim->first_running; row >= 0; row = sim->requests[row].next)
        if (decoding(&sim->requests[row])) sim->ends[sim->num_ends++] = enrol(sim, (int32_t)row);
    for (i64 place = sim->num_ends / 2 - 1; place >= 0; place--)
        sift_down(sim->ends, sim->num_ends, place, sim->ends[place]);
}

static void dissolve(sim_t *sim) {
    for (i64 row = sim->first_running; row >= 0; row = sim->requests[row].next) {
        request_t *r = &sim->requests[row];
        if (!decoding(r)) continue;
        i64 passes = sim->cohort_clock - r->stamp;
        r->computed += passes;
        r->generated += passes;
        r->blocks = blocks_for(sim, r->computed);
    }
    memset(sim->phases, 0, sim->s.block_size * sizeof *sim->phases);
    sim->formed = sim->num_cohort = sim->cohort_tokens = sim->num_ends = 0;
}

/* Phase of the members that need a block in the next pass; one pass later it is the phase before. */
static inline i64 phase_now(const sim_t *sim) { return sim->clock_phase ? sim->s.block_size - sim->clock_phase : 0; }

/* ---- how long passes take ---- */

static inline i64 iteration_time(const settings_t *s, i64 prefill_tokens, i64 two_f, i64 decodes, i64 kv_tokens) {
    i64 tokens = prefill_tokens + decodes, last = s->table_len - 1;
    i64 tiles = (tokens + s->tile - 1) / s->tile;
    i64 t = s->base + s->token * tokens + s->table[least(tiles, last)];
    if (tiles > last) t += (tiles - last) * s->tail;
    if (decodes > 0) t += s->decode_base + s->decode * decodes + s->kv * kv_tokens;
    if (prefill_tokens > 0)
        t += s->prefill_base + (i64)rint((double)s->root * sqrt((double)two_f * 0.5)) + s->square * two_f;
    return t > 1 ? t : 1;
}

static inline i64 span_of(i64 passes, i64 first, i64 growth) {
    return passes * first + growth * (passes * (passes - 1) / 2);
}

/* The least number of passes that last `gap` or longer, from 1 to `limit`. */
static inline i64 passes_until(i64 gap, i64 first, i64 growth, i64 limit) {
    if (first >= gap || limit <= 1 || first > LONG_PS) return 1;
    if (growth == 0) return least(limit, (gap + first - 1) / first);
    double f = (double)first, g = (double)growth, n = (double)limit;
    if (f * n + 0.5 * g * n * (n - 1.0) < 0.999 * (double)gap) return limit;
    double b = f - 0.5 * g;
    i64 passes = (i64)((sqrt(b * b + 2.0 * g * (double)gap) - b) / g);
    passes = passes < 1 ? 1 : least(passes, limit);
    while (passes > 1 && span_of(passes - 1, first, growth) >= gap) passes--;
    while (passes < limit && span_of(passes, first, growth) < gap) passes++;
    return passes;
}

/* How many passes after the next find their blocks among the free ones, at most `limit`. */
static inline i64 passes_within(const sim_t *sim, i64 limit) {
    i64 size = sim->s.block_size, free = sim->free_blocks;
    if ((limit / size + 1) * sim->num_cohort <= free) return limit;
    i64 passes = free / sim->num_cohort; /* in `size` passes every member takes one block */
    free -= passes * sim->num_cohort;
    passes *= size;
    for (i64 phase = phase_now(sim); passes < limit; passes++) {
        phase = (phase ? phase : size) - 1;
        free -= sim->phases[phase];
        if (free < 0) break;
    }
    return least(passes, limit);
}

/* Blocks that the cohort takes in passes 1 .. passes - 1 of a jump, each held from the start of its pass to the jump's
 * end. Members whose turn comes in pass j take blocks in passes x = j, j + size, ...; the one taken in x is held for
 * span - (first*x + growth*x*(x-1)/2). */
static inline void take_blocks_on_the_way(sim_t *sim, i64 passes, i64 first, i64 growth, i64 span) {
    i64 size = sim->s.block_size, rounds = (passes - 1) / size, rest = (passes - 1) % size;
    i64 count = 0, sum_x = 0, sum_xx = 0, phase = phase_now(sim);
    for (i64 j = 1; j <= size && j < passes; j++) {
        phase = (phase ? phase : size) - 1;
        i64 members = sim->phases[phase], times = rounds + (j <= rest), pairs = times * (times - 1) / 2;
        i64 squares = pairs * (2 * times - 1) / 3;
        count += members * times;
        sum_x += members * (times * j + size * pairs);
        sum_xx += members * (times * j * j + 2 * j * size * pairs + size * size * squares);
    }
    sim->blocks_x_time += (i128)count * span - (i128)sum_x * first - (i128)((sum_xx - sum_x) / 2) * growth;
    sim->free_blocks -= count;
}

/* ---- coming and going ---- */

static void depart(sim_t *sim, const arrival_t *a, const request_t *r, i64 id, i64 status) {
    departure_t *d = &sim->departures[sim->t->num_departures++];
    d->id = id, d->status = status;
    d->arrival_ps = a->arrival_ps;
    d->first_scheduled_ps = r->first_scheduled_ps, d->first_token_ps = r->first_token_ps;
    d->finish_ps = status == STATUS_FINISHED ? sim->clock : NONE;
    d->prompt_tokens = a->prompt_tokens, d->output_tokens = a->output_tokens;
    d->generated_tokens = r->generated;
    d->predicted_output_tokens = a->predicted_output_tokens;
    d->priority = a->priority, d->tenant = a->tenant;
    d->ttft_limit_ps = a->ttft_limit_ps, d->tpot_limit_ps = a->tpot_limit_ps, d->e2e_limit_ps = a->e2e_limit_ps;
    d->num_preemptions[0] = r->preemptions;
    d->num_preemptions[1] = d->num_preemptions[2] = d->num_preemptions[3] = 0;
    d->lost_tokens = r->lost, d->swapped_blocks = 0, d->computed_tokens = r->computed, d->prefix_hit_tokens = 0;
}

static inline int take_arrivals(sim_t *sim) {
    for (; sim->next_arrival < sim->num_arrivals; sim->next_arrival++) {
        const arrival_t *a = &sim->arrivals[sim->next_arrival];
        if (a->arrival_ps > sim->clock) break;
        i64 last_blocks = blocks_for(sim, a->prompt_tokens + a->output_tokens - 1);
        if (UNLIKELY(last_blocks > sim->s.num_kv_blocks)) {
            request_t r = {.first_scheduled_ps = NONE, .first_token_ps = NONE};
            depart(sim, a, &r, sim->next_arrival, STATUS_REJECTED);
            sim->t->num_rejected++;
            continue;
        }
        if (UNLIKELY(sim->num_free_rows == 0) && !grow(sim)) return 0;
        int32_t row = sim->free_rows[--sim->num_free_rows];
        sim->requests[row] = (request_t){
            .id = sim->next_arrival, .prompt = a->prompt_tokens, .output = a->output_tokens,
            .last_blocks = last_blocks, .first_scheduled_ps = NONE, .first_token_ps = NONE};
        sim->requests_x_time += sim->clock - a->arrival_ps;
        sim->queue[(sim->queue_head + sim->num_waiting++) & (sim->capacity - 1)] = row;
    }
    return 1;
}

/* A running request has its last token; it holds P + O - 1 tokens. */
static inline void finish(sim_t *sim, int32_t row) {
    request_t *r = &sim->requests[row];
    r->generated = r->output, r->computed = r->prompt + r->output - 1;
    sim->free_blocks += r->last_blocks;
    remove_running(sim, r);
    sim->t->num_finished++;
    depart(sim, &sim->arrivals[r->id], r, r->id, STATUS_FINISHED);
    sim->free_rows[sim->num_free_rows++] = row;
}

/* ---- composing a pass ---- */

static inline i64 tokens_wanted(const sim_t *sim, const request_t *r, int lone) {
    i64 wanted = r->prompt + r->generated - r->computed, threshold = sim->s.long_prefill_token_threshold;
    return threshold > 0 && threshold < wanted && !lone ? threshold : wanted;
}

static inline void schedule(sim_t *sim, int32_t row, i64 tokens, i64 blocks) {
    request_t *r = &sim->requests[row];
    sim->free_blocks -= blocks - r->blocks;
    r->blocks = blocks;
    sim->batch[sim->num_batch++] = (chunk_t){tokens, row};
    sim->budget -= tokens;
}

/* The cohort's tokens and those of the requests in prefill, if the latter stand behind and all find their blocks. */
static inline int compose_together(sim_t *sim, int lone) {
    i64 prefills = sim->num_running - sim->num_cohort, row = sim->last_running, first = NONE;
    i64 needed = sim->phases[phase_now(sim)];
    if (sim->num_cohort > sim->budget || needed > sim->free_blocks) return 0;
    for (i64 i = 0; i < prefills; i++) {
        if (decoding(&sim->requests[row])) return 0;
        first = row, row = sim->requests[row].previous;
    }
    i64 budget = sim->budget - sim->num_cohort, free = sim->free_blocks - needed;
    for (row = first; row >= 0 && budget > 0; row = sim->requests[row].next) {
        const request_t *r = &sim->requests[row];
        i64 tokens = least(tokens_wanted(sim, r, lone), budget);
        free -= blocks_for(sim, r->computed + tokens) - r->blocks;
        budget -= tokens;
    }
    if (free < 0) return 0;
    sim->budget -= sim->num_cohort;
    sim->free_blocks -= needed;
    for (row = first; row >= 0 && sim->budget > 0; row = sim->requests[row].next) {
        const request_t *r = &sim->requests[row];
        i64 tokens = least(tokens_wanted(sim, r, lone), sim->budget);
        schedule(sim, (int32_t)row, tokens, blocks_for(sim, r->computed + tokens));
    }
    return 1;
}

/* The last admitted goes back to the head of the queue: everybody there arrived later. No tokens to take back. */
static void preempt_last(sim_t *sim) {
    int32_t row = (int32_t)sim->last_running;
    request_t *r = &sim->requests[row];
    remove_running(sim, r);
    sim->free_blocks += r->blocks;
    r->lost += r->computed, sim->t->lost_tokens += r->computed;
    r->blocks = r->computed = 0;
    r->preemptions++, sim->t->num_preemptions++;
    sim->queue_head = (sim->queue_head - 1) & (sim->capacity - 1);
    sim->queue[sim->queue_head] = row;
    sim->num_waiting++;
}

/* One by one, in the order of admission. Returns whether blocks were short. */
static int compose_one_by_one(sim_t *sim, int lone) {
    int shortage = 0;
    for (i64 row = sim->first_running; row >= 0 && sim->budget > 0;) {
        request_t *r = &sim->requests[row];
        i64 tokens = least(tokens_wanted(sim, r, lone), sim->budget), blocks = blocks_for(sim, r->computed + tokens);
        int itself = 0;
        while (blocks - r->blocks > sim->free_blocks && !itself) {
            shortage = 1, itself = row == sim->last_running;
            preempt_last(sim);
        }
        if (itself) break; /* nobody stands behind it */
        schedule(sim, (int32_t)row, tokens, blocks);
        row = r->next;
    }
    return shortage;
}

static inline void admit(sim_t *sim, int lone) {
    while (sim->num_waiting > 0 && sim->num_running < sim->s.max_running && sim->budget > 0) {
        int32_t row = sim->queue[sim->queue_head];
        request_t *r = &sim->requests[row];
        i64 sequence = r->prompt + r->generated, tokens = tokens_wanted(sim, r, lone);
        if (tokens > sim->budget) {
            if (!sim->s.chunked_prefill) break;
            tokens = sim->budget;
        }
        i64 blocks = blocks_for(sim, tokens);
        i64 gate = sim->s.reserve_full_isl && tokens < sequence ? blocks_for(sim, sequence) : blocks;
        if (gate + (sim->num_running > 0 ? sim->s.watermark_blocks : 0) > sim->free_blocks) break;
        sim->queue_head = (sim->queue_head + 1) & (sim->capacity - 1);
        sim->num_waiting--;
        r->target = sequence;
        r->seq = (int32_t)sim->num_admissions++;
        append_running(sim, row);
        schedule(sim, row, tokens, blocks);
    }
}

/* ---- the pass ---- */

static inline void integrate(sim_t *sim, i64 span) {
    sim->requests_x_time += (i128)(sim->num_running + sim->num_waiting) * span;
    sim->running_x_time += (i128)sim->num_running * span;
    sim->blocks_x_time += (i128)(sim->s.num_kv_blocks - sim->free_blocks) * span;
}

static inline void settle_cohort(sim_t *sim, i64 passes) {
    sim->t->processed_tokens += passes * sim->num_cohort;
    sim->cohort_clock += passes;
    sim->clock_phase += passes;
    if (sim->clock_phase >= sim->s.block_size) sim->clock_phase %= sim->s.block_size;
    sim->cohort_tokens += passes * sim->num_cohort;
    while (sim->num_ends > 0 && sim->ends[0].end <= sim->cohort_clock) {
        int32_t row = sim->ends[0].row;
        pop_end(sim);
        finish(sim, row);
        request_t *r = &sim->requests[row];
        sim->phases[r->phase]--;
        sim->num_cohort--;
        sim->cohort_tokens -= r->computed;
    }
}

static inline void settle_chunks(sim_t *sim, i64 start) {
    for (i64 place = 0; place < sim->num_batch; place++) {
        int32_t row = sim->batch[place].row;
        request_t *r = &sim->requests[row];
        i64 tokens = sim->batch[place].tokens;
        sim->t->processed_tokens += tokens;
        r->computed += tokens;
        if (r->first_scheduled_ps < 0) r->first_scheduled_ps = start;
        if (r->computed < r->prompt + r->generated) continue;
        r->generated++;
        if (r->first_token_ps < 0) r->first_token_ps = sim->clock;
        if (r->generated == r->output) finish(sim, row);
        else if (sim->formed) push_end(sim, enrol(sim, row));
    }
}

static inline void run_pass(sim_t *sim) {
    i64 start = sim->clock, prefill_tokens = 0, two_f = 0, passes = 1, growth = 0;
    i64 decodes = sim->num_cohort, kv_tokens = sim->cohort_tokens; /* zeroes if there is no cohort */
    for (i64 place = 0; place < sim->num_batch; place++) {
        const request_t *r = &sim->requests[sim->batch[place].row];
        i64 tokens = sim->batch[place].tokens;
        if (decoding(r)) {
            decodes++, kv_tokens += r->computed;
        } else {
            prefill_tokens += tokens, two_f += tokens * (2 * r->computed + tokens);
        }
    }
    i64 first = iteration_time(&sim->s, prefill_tokens, two_f, decodes, kv_tokens), span = first;
    if (sim->formed && sim->num_batch == 0 && sim->num_cohort == sim->num_running) {
        growth = sim->s.kv * sim->num_cohort;
        i64 limit = 1 + passes_within(sim, least(sim->ends[0].end - sim->cohort_clock, MAX_JUMP) - 1);
        i64 gap = sim->s.until_ps - sim->clock + 1;
        if (sim->next_arrival < sim->num_arrivals)
            gap = least(gap, sim->arrivals[sim->next_arrival].arrival_ps - sim->clock);
        passes = passes_until(gap, first, growth, limit);
        span = span_of(passes, first, growth);
    }
    integrate(sim, span);
    if (passes > 1) take_blocks_on_the_way(sim, passes, first, growth, span);
    sim->clock += span;
    sim->t->num_iterations += passes;
    if (sim->formed) settle_cohort(sim, passes);
    settle_chunks(sim, start);
}

static int advance(sim_t *sim) {
    for (;;) {
        if (!take_arrivals(sim)) return NO_MEMORY;
        if (sim->clock > sim->s.until_ps) return HORIZON;
        if (sim->num_running + sim->num_waiting == 0) {
            if (sim->next_arrival == sim->num_arrivals) return FINISHED;
            sim->clock = sim->arrivals[sim->next_arrival].arrival_ps;
            continue;
        }
        sim->t->num_events++;
        int lone = sim->num_running + sim->num_waiting == 1, shortage = 0;
        sim->budget = sim->s.max_batched_tokens;
        sim->num_batch = 0;
        if (!sim->formed) form(sim);
        if (UNLIKELY(!compose_together(sim, lone))) {
            dissolve(sim);
            shortage = compose_one_by_one(sim, lone);
        }
        if (!shortage) admit(sim, lone);
        if (sim->budget < sim->s.max_batched_tokens) {
            run_pass(sim);
        } else if (!shortage) { /* a prompt larger than the budget, without chunks: nobody can ever run */
            i64 span = sim->s.idle_step_ps;
            if (sim->next_arrival == sim->num_arrivals) return STALLED;
            span = least(span, sim->arrivals[sim->next_arrival].arrival_ps - sim->clock);
            integrate(sim, span);
            sim->clock += span;
        }
    }
}

static void split(i64 *halves, i128 x) { halves[0] = (i64)(x >> 64), halves[1] = (i64)x; }

/* Run to the end. `departures` has room for everybody; returns the outcome, NO_MEMORY (-1) if that ran out. */
int twin_run(const settings_t *settings, const arrival_t *arrivals, i64 num_arrivals, departure_t *departures,
             totals_t *totals) {
    sim_t sim = {
        .s = *settings, .arrivals = arrivals, .num_arrivals = num_arrivals, .departures = departures, .t = totals};
    memset(totals, 0, sizeof *totals);
    sim.free_blocks = sim.s.num_kv_blocks;
    sim.first_running = sim.last_running = NONE;
    sim.phases = calloc(sim.s.block_size, sizeof *sim.phases);
    int outcome = sim.phases && grow(&sim) ? advance(&sim) : NO_MEMORY;
    if (outcome == STALLED || outcome == HORIZON) { /* report who is still here */
        if (sim.formed) dissolve(&sim);
        for (i64 i = 0; i < sim.num_waiting; i++) {
            const request_t *r = &sim.requests[sim.queue[(sim.queue_head + i) & (sim.capacity - 1)]];
            depart(&sim, &arrivals[r->id], r, r->id, STATUS_UNFINISHED);
        }
        for (i64 row = sim.first_running; row >= 0; row = sim.requests[row].next)
            depart(&sim, &arrivals[sim.requests[row].id], &sim.requests[row], sim.requests[row].id, STATUS_UNFINISHED);
    }
    totals->outcome = outcome, totals->clock_ps = sim.clock;
    split(totals->integral_requests, sim.requests_x_time);
    split(totals->integral_running, sim.running_x_time);
    split(totals->integral_kv_blocks, sim.blocks_x_time);
    release_memory(&sim);
    return outcome;
}

/* The layouts above are written by hand: whoever calls checks that they are the kernel's. */
i64 twin_arrival_bytes(void) { return sizeof(arrival_t); }
i64 twin_departure_bytes(void) { return sizeof(departure_t); }
