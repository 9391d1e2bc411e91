"""How many texts a second does sentence-transformers reach that knows all of them? JSON texts in, texts/s out.

Run in the environment of the FastAPI server: python offline_st.py MODEL_FOLDER < TEXTS.json
"""

import json
import sys
import time

from sentence_transformers import SentenceTransformer

texts = json.load(sys.stdin)
model = SentenceTransformer(sys.argv[1], device="cpu")
model.encode(texts[:64], batch_size=32)
started_s = time.perf_counter()
model.encode(texts, batch_size=32, normalize_embeddings=True)  # it sorts by length itself
print(len(texts) / (time.perf_counter() - started_s))
