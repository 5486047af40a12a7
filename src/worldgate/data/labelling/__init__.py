"""Labels under contract: schema, spans, record, agreement, adjudication, coverage and freshness."""
