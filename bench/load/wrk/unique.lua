-- Another URL each time: the path given, and a number that no run before this one used.
package.path = package.path .. ";" .. os.getenv("BENCH_WRK") .. "/?.lua"
require("report")

local count = 0
local prefix

function init(args)
   prefix = wrk.path .. os.getenv("BENCH_RUN") .. "-"
end

function request()
   count = count + 1
   return wrk.format(nil, prefix .. count)
end
