"""Random histories: clients, workers and faults in every order that Hypothesis thinks of.

ways.py         what a volume or a snapshot may be, and what becomes of it by itself
answers.py      what each call may be answered: pure, and no product code, as ways.py
belief.py       what a client knows of one resource: the ways that it may be
cloud.py        the world of `tests/crash/world.py` with API processes that die, too
weather.py      the faults that are due, and what they excuse
client.py       what all rules share: a client that asks and remembers
volumes.py, snapshots.py, attachments.py, limits.py, looking.py      the rules of each
contents.py, content_answers.py      images, reverting, unmanaging: what a volume holds
giving.py, giving_answers.py         transfers to another project
faults.py       what goes wrong by itself, at any time
trouble.py      calls that a fault is drawn together with
ending.py       what must be true after each rule and at the end
machine.py      a history: all of that
__main__.py     python -m tests.crash.histories --seed 11 --examples 200 --steps 60
"""
