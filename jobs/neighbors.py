"""`raydm neighbors` as a script, for `ray job submit --working-dir . -- python jobs/neighbors.py ARGS`."""

from as_job import run

if __name__ == "__main__":
    run(__file__)
