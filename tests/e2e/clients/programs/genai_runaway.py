"""A program on Google's own SDK that does not stop by itself: whole or streamed."""

import sys

from google import genai

PROMPT = "go on [[standin: tokens=200 reasoning=100]]"


def whole(client):
    client.models.generate_content(model="gemini-2.5-flash", contents=PROMPT)


def stream(client):
    for _ in client.models.generate_content_stream(model="gemini-2.5-flash", contents=PROMPT):
        pass


with genai.Client() as client:
    for number in range(60):
        globals()[sys.argv[1]](client)
        print("call", number + 1, flush=True)
