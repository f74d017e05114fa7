"""`breezeblock-chaos`: real processes, real faults, and the question whether anything was lost.

    plan       which faults, in which order: from the seed alone
    nemesis    kills, freezes and restarts what the plan says
    stage      the processes: every role apart, a private RabbitMQ and PostgreSQL
    clients    users who create, attach, write, grow, snapshot and delete all the while
    guest      a user whose volumes go to a real guest, through the compute API
    content    what a volume must hold, after all that was acknowledged
    disk, nbd  a host that writes to an attached volume and reads it back
    observer   looks at the database during the run
    checks     at the end, when all is up again and quiet: what must be true
    report     what is told of it: the last line, the violations, the figures for the docs

The order of the faults and of each client's wishes is repeatable by the seed; their timing is not:
processes are real, so a seed that found something may have to be run more than once.
"""
