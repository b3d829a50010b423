-- Each of BENCH_NUMBER paths once, from BENCH_FROM on: fills a cache before it is asked by wrk/zipf.lua.
package.path = package.path .. ";" .. os.getenv("BENCH_WRK") .. "/?.lua"
require("report")

local number = tonumber(os.getenv("BENCH_NUMBER"))
local count = tonumber(os.getenv("BENCH_FROM"))
local prefix

function init(args)
   prefix = wrk.path
end

function request()
   count = count + 1
   return wrk.format(nil, prefix .. (count - 1) % number)
end
