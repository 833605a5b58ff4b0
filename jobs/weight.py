"""`raydm weight` as a script, for `ray job submit --working-dir . -- python jobs/weight.py ARGS`."""

from as_job import run

if __name__ == "__main__":
    run(__file__)
