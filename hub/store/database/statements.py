"""Statements that are executed often, compiled once.

SQLAlchemy's Core analyses a statement anew at each execution. With SQLite that costs ten times as much as the
statement itself. The statements are still written with Core, so that they also serve PostgreSQL, where the
way to the server costs more than the analysis.

Used by all modules of the store that have statements.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from pysqlite3 import dbapi2
from sqlalchemy import Connection, Insert, Select, Table, Update
from sqlalchemy.exc import DBAPIError


class Many:
    """A statement for many rows. In Core most of the cost of an ``executemany`` is the naming of parameters.

    `names` are the parameters that each row must give. Values go to the driver as they are: integers, text,
    bytes, None.
    """

    def __init__(self, statement: Insert | Update, names: Sequence[str], *, inserts: bool = False) -> None:
        self._statement = statement
        self._names = tuple(names)
        self._columns = self._names if inserts else None
        self._compiled: dict[str, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {}

    @classmethod
    def insert(cls, table: Table, names: Sequence[str]) -> Many:
        """A statement that inserts rows with these columns."""
        return cls(table.insert(), names, inserts=True)

    def __call__(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute the statement for each row. Without rows nothing is executed."""
        if not rows:
            return
        sql, parameters = self._compiled.get(connection.dialect.name) or self._compile(connection)
        connection.exec_driver_sql(sql, list(map(parameters, rows)))

    def _compile(self, connection: Connection) -> tuple[str, Callable[[Mapping[str, Any]], Any]]:
        compiled: Any = self._statement.compile(dialect=connection.dialect, column_keys=self._columns)
        parameters: Callable[[Mapping[str, Any]], Any] = _without_nul
        if compiled.positional:
            order = tuple(compiled.positiontup)
            if set(order) != set(self._names):
                raise TypeError(f"parameters {sorted(order)} of the statement are not those named: "
                                f"{sorted(self._names)}")
            parameters = itemgetter(*order)
        self._compiled[connection.dialect.name] = (str(compiled), parameters)
        return self._compiled[connection.dialect.name]


def _without_nul(row: Mapping[str, Any]) -> dict[str, Any]:
    """Replace U+0000, which PostgreSQL's text cannot hold: what a citizen sent must be kept all the same."""
    return {name: value.replace("\0", "\ufffd") if type(value) is str and "\0" in value else value
            for name, value in row.items()}


class Query:
    """A statement that is executed with other values each time. Its rows have their columns as attributes.

    A list is passed by ``bindparam(name, expanding=True)``. Values and columns are as the driver knows them.
    """

    def __init__(self, statement: Select[Any] | Update) -> None:
        self.statement = statement
        self._compiled: _Compiled | None = None

    def __call__(self, connection: Connection, **values: Any) -> Sequence[Any]:
        """All rows. An update has none."""
        if connection.dialect.name != "sqlite":
            result = connection.execute(self.statement, values)
            return result.all() if result.returns_rows else ()
        self._compiled = self._compiled or _Compiled(self.statement, connection)
        if not connection.in_transaction():
            connection.begin()  # as Core does: all reads on a connection see one moment
        return self._compiled.ask(connection, values)


class _Compiled:
    """A `Query` compiled for SQLite."""

    def __init__(self, statement: Select[Any] | Update, connection: Connection) -> None:
        compiled: Any = statement.compile(dialect=connection.dialect)
        self._sql = str(compiled)
        self._order: tuple[str, ...] = tuple(compiled.positiontup)
        self._constants = {name: bound.value for name, bound in compiled.binds.items() if not bound.required}
        self._lists = {parameter.key for parameter in compiled.post_compile_params}
        self._row: Callable[[Any], Any] = tuple
        if isinstance(statement, Select):
            names = [str(column.key) for column in statement.selected_columns]
            self._row = namedtuple("Row", names)._make  # type: ignore[attr-defined]

    def ask(self, connection: Connection, values: Mapping[str, Any]) -> list[Any]:
        sql, parameters = self._sql, []
        for name in self._order:
            value = values[name] if name in values else self._constants[name]
            if name in self._lists:
                value = [*value, *value[-1:] * (_rounded(len(value)) - len(value))]
                sql = sql.replace(f"__[POSTCOMPILE_{name}]", ", ".join("?" * len(value)))
                parameters += value
            else:
                parameters.append(value)
        driver: Any = connection.connection.dbapi_connection
        try:
            return list(map(self._row, driver.execute(sql, parameters).fetchall()))
        except dbapi2.Error as error:  # without the values, which a citizen may have written
            raise DBAPIError.instance(sql, None, error, dbapi2.Error, hide_parameters=True) from error


def _rounded(count: int) -> int:
    """The next power of two. With few lengths of lists the driver knows most statements already.

    Lists are filled up by repeating a value, which does no harm.
    """
    return 1 << (count - 1).bit_length() if count else 0


def batches(ids: Sequence[str], size: int = 500) -> Iterator[list[str]]:
    """The ids in portions that fit into one statement."""
    for start in range(0, len(ids), size):
        yield list(ids[start : start + size])
