"""A program on the anthropic SDK that does not stop by itself: create or stream."""

import sys

import anthropic

ASKED = {
    "model": "claude-sonnet-5",
    "max_tokens": 4000,
    "messages": [{"role": "user", "content": "go on [[standin: tokens=200]]"}],
}


def create(client):
    client.messages.create(**ASKED)


def stream(client):
    with client.messages.stream(**ASKED) as events:
        events.get_final_message()


with anthropic.Anthropic() as client:
    for number in range(60):
        globals()[sys.argv[1]](client)
        print("call", number + 1, flush=True)
