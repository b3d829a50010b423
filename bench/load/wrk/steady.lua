-- A constant rate: each connection sends at fixed moments, whatever the replies do (wrk2's way, in plain wrk).
--
-- One thread per connection (-tN -cN), so that a thread may sleep until its moment without holding another up. A reply that
-- is late does not move the moments behind it: a request that could not be sent at its own is timed from then, so a
-- pause of the server is seen by all it would have hit, not by one (coordinated omission). A request whose connection was
-- free, but which was sent late because the generator was not run in time, is timed from its sending: that is not the
-- server's doing; how often and how much is told as "late".
--
-- BENCH_INTERVAL_US: between two requests of one connection. BENCH_WRK: this folder.
local ffi = require("ffi")
ffi.cdef[[
typedef struct { long sec; long nsec; } bench_time;
int clock_gettime(int, bench_time *);
int clock_nanosleep(int, int, const bench_time *, bench_time *);
]]
local MONOTONIC, ABSOLUTE = 1, 1
local STEPS = 64           -- buckets per doubling: within 1.1 %
local at = ffi.new("bench_time")
local threads = {}

local function now_us()
   ffi.C.clock_gettime(MONOTONIC, at)
   return tonumber(at.sec) * 1e6 + tonumber(at.nsec) / 1e3
end

function setup(thread)
   thread:set("number", #threads)
   table.insert(threads, thread)
end

function init(args)
   interval = tonumber(os.getenv("BENCH_INTERVAL_US"))
   buckets = {}
   late_us = 0
   sent = 0
   due = nil
   started = nil
end

-- wrk calls this before each request, as soon as the reply before it is complete.
function delay()
   local now = now_us()
   if started then
      local took = math.max(1, now - started)
      local bucket = math.floor(math.log(took) / math.log(2) * STEPS)
      buckets[bucket] = (buckets[bucket] or 0) + 1
   end
   if not due then
      due = now + (number % 64) / 64 * interval
   else
      due = due + interval
   end
   if now < due then
      at.sec = math.floor(due / 1e6)
      at.nsec = (due % 1e6) * 1e3
      ffi.C.clock_nanosleep(MONOTONIC, ABSOLUTE, at, nil)
      started = now_us()
      late_us = late_us + (started - due)
   else
      started = due
   end
   sent = sent + 1
   return 0
end

function done(summary, latency, requests)
   local all, total, late, sent_all = {}, 0, 0, 0
   for _, thread in ipairs(threads) do
      for bucket, count in pairs(thread:get("buckets")) do
         bucket = tonumber(bucket)
         all[bucket] = (all[bucket] or 0) + count
         total = total + count
      end
      late = late + thread:get("late_us")
      sent_all = sent_all + thread:get("sent")
   end
   local order = {}
   for bucket in pairs(all) do table.insert(order, bucket) end
   table.sort(order)
   local function percentile(share)
      local seen = 0
      for _, bucket in ipairs(order) do
         seen = seen + all[bucket]
         if seen >= share * total then return 2 ^ ((bucket + 0.5) / STEPS) end
      end
      return 0
   end
   local e = summary.errors
   io.write(string.format(
      'RESULT {"requests": %d, "duration_us": %d, "bytes": %d, "p50_us": %.0f, "p99_us": %.0f, "p999_us": %.0f, ' ..
      '"max_us": %.0f, "late_us": %.1f, ' ..
      '"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
      summary.requests, summary.duration, summary.bytes,
      percentile(0.5), percentile(0.99), percentile(0.999), percentile(1), late / math.max(1, sent_all),
      e.connect, e.read, e.write, e.status, e.timeout))
end
