"""Entries: a policy in a file of a user's own, tried out, run on the test seeds, kept so that anyone can replay it.

`policy_file` loads such a file (which runs it), `trial` makes sure of the policy, `entry` makes the folder of an entry,
`listing` finds the entries in a folder and writes the table of them. See docs/leaderboard_submission.md.
"""
