"""Which malloc to deploy, and with which settings: from measurements to one recommendation.

settings    what each malloc lets the environment set, with effect and risk
candidates  the mallocs and settings to try
figures     the runs of a candidate: what is measured, and what of it matters
decide      pure functions over measured rows: what dominates, what a change gains, what to recommend
replays     a candidate measured on recordings
commands    a candidate measured under the program itself
search      the order of the runs: the search, then fresh runs that judge
tune        more candidates, from Optuna
holders     whether live memory dominates, and who asked for it
deploy      the lines that put a recommendation into use
page        the result as one HTML page
"""
