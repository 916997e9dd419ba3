"""What a board looks like to people: a page, pictures, TensorBoard runs, and a recommendation in words.

All are functions of the document (leaderboard.json) alone. `board` reads it, `measures` names what is in it; `words`
recommends; `tables`, `overview` and `page` make the HTML, whose scripts and style lie in assets/; `series` says what
can be drawn along an axis, and whom; `plots` draws with matplotlib; `scalars` writes for TensorBoard.
"""
