"""From a question to an answer with an interval: study files, replications, statistics."""
