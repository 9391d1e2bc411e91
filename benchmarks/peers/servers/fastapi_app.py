"""Sentence-transformers behind a plain FastAPI route: what most tutorials show.

Run in an environment of its own: MODEL=FOLDER uvicorn fastapi_app:app. A plain `def` route, so that calls run in
FastAPI's thread pool; torch uses the threads that it chooses.
"""

import os

from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(os.environ["MODEL"], device="cpu")
app = FastAPI()


class Question(BaseModel):
    """One text, and the name of the model, which is not looked at: there is one."""

    text: str
    model: str


class Answer(BaseModel):
    """The unit vector of the text."""

    embeddings: list[list[float]]


@app.post("/embed")
def embed(question: Question) -> Answer:
    """Embed one text."""
    return Answer(embeddings=model.encode([question.text], normalize_embeddings=True).tolist())


@app.get("/health")
def health() -> str:
    """Up."""
    return "ok"
