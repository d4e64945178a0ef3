"""The Python SDK: the providers' own clients, governed.

A watched client is the provider's client with another way out. Its HTTP client is given a transport
of ours, which asks the daemon and the provider over the daemon's Unix socket in one trip; nothing
else of it is touched, so every method that it has, or will have, is governed.

    terms       what a caller asked for: session, ceiling, fail-open
    door        one daemon's address, and whether anybody answers
    line        one connection to it: frames on the socket, HTTP at the port
    session     the account that calls are charged to, and whether one may go, and which way
    route       a provider's request as the daemon takes it
    denial      a refusal, as an answer and as a typed error
    inside      code that runs in a session: a `with`, or each call of a function
    forks       locks that a fork leaves open
    again       a request that nobody can have read is asked again
    answers     an answer's bytes, ended or metered on their way
    transport   the two drivers, sync and async, over all of that
    straight    a call that goes to the provider itself while the daemon is away
    spool       what such calls cost, on disk, until the daemon takes it in
    watching    a client becomes a watched one; `wrap` and the classes do it
"""
