"""The leaderboard: every policy on the same arrivals, with intervals, and what no schedule could beat beside each mean.

`suite` says what is on a board; `arena` makes a scenario into workloads; `work` is one run or one bound; `schedule` has
them done, in processes or on a Ray cluster, and `store` keeps each as it comes; `board` makes the document of all of
them with the figures of `statistics`; `tables` writes CSV; `verify` replays. See docs/leaderboard.md.
"""
