"""What has to happen at once or not at all, in Lua, which Redis runs to its end before it does anything else.

Streams and groups are the same for all: a place's stream has one group, in which each open consumer or reader has a
name of its own. In every script what could be refused comes first, so that nothing is taken away for nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

GROUP = "service"
"""The consumer group that all instances of a service share."""
MAX_ARGUMENTS = 4000
"""Lua can pass about 8000 values to a command."""


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
"""

ENSURE = Script("""
-- KEYS: stream. ARGV: ms after which a consumer that has nothing in hand and asks for nothing is dead.
-- A group that is there is not made again: a server without memory would refuse that.
local made = false
if redis.call('EXISTS', KEYS[1]) == 1 then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    made = made or group[2] == 'service'
  end
end
if not made then
  redis.call('XGROUP', 'CREATE', KEYS[1], 'service', '0', 'MKSTREAM')
end
for _, found in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], 'service')) do
  local consumer = {}
  for i = 1, #found, 2 do consumer[found[i]] = found[i + 1] end
  if consumer['pending'] == 0 and consumer['idle'] > tonumber(ARGV[1]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'service', consumer['name'])
  end
end
return made and 0 or 1
""")
"""Make a stream and its group, unless they are there; forget dead consumers. Answers 1 if it was made."""

ACK = Script(
    _OURS
    + """
-- KEYS: stream. ARGV: consumer, id...
local done = {}
for i = 2, #ARGV do
  local mine = ours(KEYS[1], ARGV[1], ARGV[i])
  if mine then
    redis.call('XACK', KEYS[1], 'service', ARGV[i])
    redis.call('XDEL', KEYS[1], ARGV[i])
  end
  done[i - 1] = mine and 1 or 0
end
return done
"""
)
"""Forget entries. Answers 1 for each that was in this consumer's hand."""

HAND_OVER = Script(
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
-- KEYS: the delayed ones, stream. ARGV: how many at most.
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])
for _, packed in ipairs(due) do
  local good, message = pcall(cmsgpack.unpack, packed)
  good = good and type(message) == 'table' and type(message[3]) == 'table' and #message[3] > 1
  redis.call('XADD', KEYS[2], '*', unpack(good and message[3] or {'body', packed}))
  redis.call('ZREM', KEYS[1], packed)
end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
return {#due, next and math.max(0, next - now) or -1}
""")
"""Move what has waited long enough to its stream. Answers how many, and the ms until the next is due, or -1."""

KEEP = Script(
    _OURS
    + """
-- KEYS: stream. ARGV: consumer, id...
local kept = {}
for i = 2, #ARGV do
  local mine = ours(KEYS[1], ARGV[1], ARGV[i])
  if mine then redis.call('XCLAIM', KEYS[1], 'service', ARGV[1], 0, ARGV[i], 'JUSTID') end
  kept[i - 1] = mine and 1 or 0
end
return kept
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
"""Leave what is in this consumer's hand to whoever looks for it first. A consumer with nothing in hand is deleted."""
