# The template's: an update changes it. Which files are yours: README.md.
"""What has to happen at once or not at all, in Lua, which Redis runs to its end before it does anything else.

Streams and groups are the same for all: a place's stream has one group, in which each open consumer or reader has a
name of its own. In every script what could be refused comes first, so that nothing is taken away for nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

GROUP = "service"  # the consumer group that all instances of a service share
MAX_ARGUMENTS = 4000  # Lua can pass about 8000 values to a command


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and what the server knows it by."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        sha = hashlib.sha1(self.text.encode()).hexdigest()  # noqa: S324 - Redis' own name for it, no secret
        object.__setattr__(self, "sha", sha)


_OURS = """
local function ours(stream, consumer, id)
  return #redis.call('XPENDING', stream, 'service', id, id, 1, consumer) > 0
end
local function for_each_of_ours(settle)
  local done = {}
  for i = 2, #ARGV do
    local mine = ours(KEYS[1], ARGV[1], ARGV[i])
    if mine then settle(ARGV[i]) end
    done[i - 1] = mine and 1 or 0
  end
  return done
end
"""

_FOUND = """
-- Some users may not ask for these two: then it is not known.
local function found(made, passed)
  local left = redis.pcall('PTTL', KEYS[1])
  return {made and 1 or 0, type(left) == 'number' and left >= 0 and left or -1, passed}
end
-- Up to where the group is, only what somebody has in flight may lie. So the gaps between that must be empty.
local function first_passed(group)
  local after, pending = '-', redis.call('XPENDING', KEYS[1], 'service', '-', group[8], 1000)
  if #pending < 1000 then pending[#pending + 1] = {false} end
  for _, entry in ipairs(pending) do
    local found = redis.pcall('XRANGE', KEYS[1], after, entry[1] and '(' .. entry[1] or group[8], 'COUNT', 1)
    if found.err then return '' end
    if found[1] then return found[1][1] end
    after = '(' .. tostring(entry[1])
  end
  return ''
end
"""

ENSURE = Script(
    _FOUND
    + """
-- KEYS: stream. ARGV: ms after which a consumer that has nothing in flight and asks for nothing is dead.
-- A group that is there is not made again: a server without memory would refuse that.
local made, passed = true, ''
if redis.call('EXISTS', KEYS[1]) == 1 then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    if group[2] == 'service' then made, passed = false, first_passed(group) end
  end
end
if made then
  redis.call('XGROUP', 'CREATE', KEYS[1], 'service', '0', 'MKSTREAM')
end
-- Nothing has this id. Who may not do these must know now, and not when a message is in two places.
redis.call('XACK', KEYS[1], 'service', '0-0')
redis.call('XDEL', KEYS[1], '0-0')
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], 'service')) do
  local is = {}
  for i = 1, #consumer, 2 do is[consumer[i]] = consumer[i + 1] end
  if is['pending'] == 0 and is['idle'] > tonumber(ARGV[1]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'service', is['name'])
  end
end
return found(made, passed)
"""
)
"""Make a stream and its group, unless they are there; forget dead consumers. Answers 1 if it was made; ms, or -1, until
the key expires; the first entry that the group is behind and nobody has in flight, or ''."""

LOOK = Script(_FOUND + "redis.call('ZRANGE', KEYS[1], 0, 0) return found(false, '')")
"""The same of the delayed ones, which are made by what is put there."""

ACK = Script(
    _OURS
    + """
-- KEYS: stream. ARGV: consumer, id...
return for_each_of_ours(function(id)
  redis.call('XACK', KEYS[1], 'service', id)
  redis.call('XDEL', KEYS[1], id)
end)
"""
)
"""Forget entries. Answers 1 for each that was in this consumer's hand."""

MOVE = Script(
    _OURS
    + """
-- KEYS: stream, target. ARGV: consumer, id, delay in ms or '' for a stream, field, value...
if not ours(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
if ARGV[3] == '' then
  redis.call('XADD', KEYS[2], '*', unpack(ARGV, 4))
else
  local now = redis.call('TIME')
  local due = now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[3]
  local packed = cmsgpack.pack({KEYS[1], ARGV[2], {unpack(ARGV, 4)}})
  redis.call('ZADD', KEYS[2], string.format('%.0f', due), packed)
end
redis.call('XACK', KEYS[1], 'service', ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
return 1
"""
)
"""Put a message into another place and forget the entry it was. Answers 0, and does nothing, if that isn't ours."""

MOVE_DUE = Script("""
-- KEYS: the delayed ones, stream. ARGV: how many at most, and of how many bytes, but for the last one.
local function fields(packed)
  local good, message = pcall(cmsgpack.unpack, packed)
  local found, strings = good and type(message) == 'table' and message[3], 0
  if type(found) ~= 'table' then return {'body', packed} end
  for _, value in ipairs(found) do strings = strings + (type(value) == 'string' and 1 or 0) end
  local fine = strings == #found and strings > 1 and strings % 2 == 0 and strings < 7000
  return fine and found or {'body', packed}
end
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local moved, bytes = 0, 0
while moved < tonumber(ARGV[1]) and bytes < tonumber(ARGV[2]) do
  local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, 1)
  if not due[1] then break end
  redis.call('XADD', KEYS[2], '*', unpack(fields(due[1])))
  redis.call('ZREM', KEYS[1], due[1])
  moved, bytes = moved + 1, bytes + #due[1]
end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
return {moved, next and math.max(0, next - now) or -1}
""")
"""Move what has waited long enough to its stream. Answers how many, and the ms until the next is due, or -1.

What this service did not put there becomes a body.
"""

KEEP = Script(
    _OURS
    + """
-- KEYS: stream. ARGV: consumer, id...
return for_each_of_ours(function(id)
  redis.call('XCLAIM', KEYS[1], 'service', ARGV[1], 0, id, 'JUSTID')
end)
"""
)
"""Say that we are still at it. Answers 1 for each entry that is still in this consumer's hand."""

RELEASE = Script("""
-- KEYS: stream. ARGV: consumer, ms to look idle for.
local pending = redis.call('XPENDING', KEYS[1], 'service', '-', '+', 100000, ARGV[1])
for _, entry in ipairs(pending) do
  redis.call('XCLAIM', KEYS[1], 'service', ARGV[1], 0, entry[1], 'IDLE', ARGV[2], 'JUSTID')
end
if #pending == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'service', ARGV[1]) end
return #pending
""")
"""Leave what is in this consumer's hand to whoever looks for it first. A consumer with nothing in flight is deleted."""
