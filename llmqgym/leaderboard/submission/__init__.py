"""Entries: a policy or an agent in files of a user's own, tried out, run on the test seeds, kept for anyone to replay.

`about` is what an author declares, `submitted` what is to be entered; `policy_file` loads a policy's file (which runs
it), an agent's are read by whoever knows agents; `trial` makes sure of the contestant, `entry` makes the folder of an
entry, `listing` finds the entries in a folder and writes the table of them. See docs/leaderboard_submission.md.
"""
