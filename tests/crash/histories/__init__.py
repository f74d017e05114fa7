"""Random histories: clients, workers and faults in every order that Hypothesis thinks of.

model.py     what a client knows, and what each call may answer: pure, and no product code
cloud.py     the world of `tests/crash/world.py` with API processes that die, too
weather.py   the faults that are due
machine.py   the rules that are drawn, and the checks after each and at the end
__main__.py  python -m tests.crash.histories --seed 11 --examples 200 --steps 60
"""
