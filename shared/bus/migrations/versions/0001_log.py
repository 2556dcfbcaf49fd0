"""The log: topics, partitions, records, consumer groups. Plain SQL; shared/bus/postgres is its only user."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = (
    """create table bus.topic (
        name text primary key, partitions int not null check (partitions > 0), retention_days int not null
    )""",
    # The row's lock is what makes offsets contiguous in commit order. Updated by every append: room for HOT updates.
    """create table bus.partition (
        id int generated always as identity primary key,
        topic text not null references bus.topic (name), partition int not null,
        first_offset bigint not null default 0, next_offset bigint not null default 0,
        unique (topic, partition)
    ) with (fillfactor = 20)""",
    # No foreign key: it would be looked up for every record, and bus.append has locked the partition anyway.
    """create table bus.record (
        partition_id int not null, "offset" bigint not null,
        appended_at timestamptz not null default clock_timestamp(),
        key bytea not null, value bytea not null, headers bytea not null,
        primary key (partition_id, "offset")
    )""",
    # Events above 2 kB are stored as they are: compressing them costs more than their bytes.
    "alter table bus.record alter column value set storage external",
    # Records leave only from the old end, in bulk: look for them by share, not after each small burst.
    "alter table bus.record set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.2)",
    "create table bus.consumer_group (name text primary key, generation bigint not null default 0)",
    """create table bus.member (
        group_name text not null references bus.consumer_group (name), id uuid not null,
        topics text[] not null, heartbeat_at timestamptz not null,
        primary key (group_name, id)
    ) with (fillfactor = 50)""",
    """create table bus.group_offset (
        group_name text not null, topic text not null, partition int not null, next_offset bigint not null,
        committed_at timestamptz not null default clock_timestamp(),
        primary key (group_name, topic, partition)
    ) with (fillfactor = 50)""",
    """create view bus.lag as
        select o.group_name, o.topic, o.partition, o.next_offset, p.next_offset - o.next_offset as lag, o.committed_at
        from bus.group_offset o join bus.partition p using (topic, partition)""",
)

FUNCTIONS = (
    # One round trip, one transaction. Locks first and in one order, so that two appends never wait for each other in a
    # circle; whoever holds a row until it commits gives out its next offsets, so commit order is offset order.
    """create function bus.append(partitions int[], keys bytea[], bodies bytea[], heads bytea[]) returns void
    language plpgsql as $$
    declare written bigint;
    begin
        perform 1 from bus.partition where id = any (partitions) order by id for no key update;
        with message as (
            select m.id, m.key, m.body, m.head, row_number() over (partition by m.id order by m.n) - 1 as place
            from unnest(partitions, keys, bodies, heads) with ordinality as m (id, key, body, head, n)
        ), moved as (
            update bus.partition p set next_offset = p.next_offset + c.messages
            from (select id, count(*) as messages from message group by id) c
            where p.id = c.id returning p.id, p.next_offset - c.messages as base
        )
        insert into bus.record (partition_id, "offset", key, value, headers)
        select m.id, moved.base + m.place, m.key, m.body, m.head from message m join moved on moved.id = m.id;
        get diagnostics written = row_count;
        if written <> cardinality(partitions) then
            raise exception 'an append to a partition that does not exist';
        end if;
        perform pg_notify('bus_record', t.topic)
        from (select distinct topic from bus.partition where id = any (partitions)) t;
    end $$""",
    # Sign of life. Joins where the member is new or was given up; whoever was silent for too long is given up here.
    # Every change of members is a new generation and wakes the group.
    """create function bus.beat(wanted text, member_id uuid, subscribed text[], session interval)
    returns table (generation bigint, joined boolean, id uuid, topics text[])
    language plpgsql as $$
    #variable_conflict use_column
    declare
        gone bigint; fresh boolean; current_generation bigint;
    begin
        insert into bus.consumer_group (name) values (wanted) on conflict do nothing;
        perform 1 from bus.consumer_group g where g.name = wanted for update;
        delete from bus.member m where m.group_name = wanted and m.heartbeat_at < clock_timestamp() - session;
        get diagnostics gone = row_count;
        update bus.member m set heartbeat_at = clock_timestamp() where m.group_name = wanted and m.id = member_id;
        fresh := not found;
        if fresh then
            insert into bus.member values (wanted, member_id, subscribed, clock_timestamp());
        end if;
        if fresh or gone > 0 then
            perform bus.regroup(wanted);
        end if;
        select g.generation into current_generation from bus.consumer_group g where g.name = wanted;
        return query select current_generation, fresh, m.id, m.topics
            from bus.member m where m.group_name = wanted order by m.id;
    end $$""",
    """create function bus.leave(wanted text, member_id uuid) returns void language plpgsql as $$
    begin
        perform 1 from bus.consumer_group g where g.name = wanted for update;
        delete from bus.member m where m.group_name = wanted and m.id = member_id;
        if found then
            perform bus.regroup(wanted);
        end if;
    end $$""",
    """create function bus.regroup(wanted text) returns void language sql as $$
        update bus.consumer_group set generation = generation + 1 where name = wanted;
        select pg_notify('bus_group', wanted);
    $$""",
    # Deletes a bounded piece of what is older than `before` from the old end of a partition; says how much. Of all
    # processes one at a time works; the others find nothing to do.
    """create function bus.expire(wanted int, before timestamptz, at_most int) returns bigint language plpgsql as $$
    declare cut bigint; deleted bigint;
    begin
        if not pg_try_advisory_xact_lock(hashtext('closeloop bus.expire')) then
            return 0;
        end if;
        select coalesce(min(page."offset") filter (where page.appended_at >= before), max(page."offset") + 1) into cut
        from (select r."offset", r.appended_at from bus.record r where r.partition_id = wanted
              order by r."offset" limit at_most) page;
        delete from bus.record r where r.partition_id = wanted and r."offset" < cut;
        get diagnostics deleted = row_count;
        if deleted > 0 then
            update bus.partition p set first_offset = cut where p.id = wanted;
        end if;
        return deleted;
    end $$""",
)


def upgrade() -> None:
    for statement in (*TABLES, *FUNCTIONS):
        op.execute(statement)
