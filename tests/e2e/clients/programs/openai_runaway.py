"""A program on the openai SDK that does not stop by itself: chat, stream or responses."""

import sys

import openai

PROMPT = "go on [[standin: tokens=200]]"
MESSAGES = [{"role": "user", "content": PROMPT}]


def chat(client):
    client.chat.completions.create(model="gpt-4o", messages=MESSAGES)


def stream(client):
    for _ in client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True):
        pass


def responses(client):
    with client.responses.stream(model="gpt-4o", input=PROMPT) as events:
        events.get_final_response()


with openai.OpenAI() as client:
    for number in range(60):
        globals()[sys.argv[1]](client)
        print("call", number + 1, flush=True)
