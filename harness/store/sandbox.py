"""The limit of a person's SQL: one statement that reads."""

from __future__ import annotations

from harness.store.errors import StoreError


def refuse_writing(sql: str) -> None:
    """Let through one statement that reads.

    Raises:
        duckdb.Error: it cannot be parsed.
        StoreError: no statement, several, or one that does anything else.
    """
    import duckdb

    try:
        sql.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"the statement is not UTF-8 text: {error.reason} at character {error.start + 1}") from error
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        raise StoreError(f"one statement at a time: here are {len(statements)}")
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN:  # EXPLAIN ANALYZE runs what it explains
        (explained,) = duckdb.extract_statements(_explained(sql))
        kind = explained.type
    if kind != duckdb.StatementType.SELECT:
        raise StoreError(
            f"this database is only read: {kind.name} is refused. "
            "SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE and EXPLAIN are allowed"
        )


def _explained(sql: str) -> str:
    """The statement behind the word EXPLAIN and its options."""
    import duckdb

    text = sql.encode()
    places = [place for place, kind in duckdb.tokenize(sql) if kind != duckdb.token_type.comment]
    words = [
        text[place:end].split(b"--")[0].split(b"/*")[0].strip().upper()
        for place, end in zip(places, [*places[1:], len(text)], strict=True)
    ]
    at = 1
    if words[at : at + 1] == [b"("]:
        at = words.index(b")") + 1
    while words[at : at + 1] in ([b"ANALYZE"], [b"ANALYSE"], [b"VERBOSE"]):
        at += 1
    return text[places[at] :].decode() if at < len(places) else ""
