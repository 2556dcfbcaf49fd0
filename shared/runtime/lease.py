"""A lease: one holder at a time by the database clock, with an epoch that grows at every change of holder."""

from shared.db.database import Database

LEASE_SECONDS = 10.0
_TAKE = """
insert into lease (name, owner, epoch, expires_at)
values (:name, :owner, 1, clock_timestamp() + make_interval(secs => :seconds))
on conflict (name) do update
set owner = excluded.owner, expires_at = excluded.expires_at,
    epoch = lease.epoch + (lease.owner <> excluded.owner)::int
where lease.owner = excluded.owner or lease.expires_at < clock_timestamp()
returning epoch"""


class Lease:
    """Take it, and take it again before LEASE_SECONDS are over."""

    def __init__(self, database: Database, name: str, owner: str) -> None:
        self._database = database
        self._name = name
        self._owner = owner

    async def take(self) -> int | None:
        """The epoch while it is ours, None while somebody else has it."""
        async with self._database.unit_of_work() as uow:
            result = await uow.execute(_TAKE, {"name": self._name, "owner": self._owner, "seconds": LEASE_SECONDS})
            row = result.first()
        return None if row is None else row.epoch

    async def release(self) -> None:
        """Let the next one have it at once."""
        async with self._database.unit_of_work() as uow:
            await uow.execute(
                "update lease set expires_at = '-infinity' where name = :name and owner = :owner",
                {"name": self._name, "owner": self._owner},
            )
