-- One of BENCH_NUMBER paths each time, the k-th with a weight of 1/k^BENCH_SKEW, in an order that is the same in every run.
package.path = package.path .. ";" .. os.getenv("BENCH_WRK") .. "/?.lua"
require("report")

local TURN = 200003 -- picks, then from the beginning again: a prime, so that it meets no other rhythm
local picks = {}
local count = 0

function init(args)
   local number, skew = tonumber(os.getenv("BENCH_NUMBER")), tonumber(os.getenv("BENCH_SKEW"))
   local requests, upto, sum = {}, {}, 0
   for rank = 1, number do
      -- Popular paths lie anywhere among the others: 7919 shares no factor with the number.
      requests[rank] = wrk.format(nil, wrk.path .. (rank * 7919) % number)
      sum = sum + rank ^ -skew
      upto[rank] = sum
   end
   math.randomseed(1)
   for at = 1, TURN do
      local wanted, low, high = math.random() * sum, 1, number
      while low < high do
         local middle = math.floor((low + high) / 2)
         if upto[middle] < wanted then low = middle + 1 else high = middle end
      end
      picks[at] = requests[low]
   end
end

function request()
   count = count % TURN + 1
   return picks[count]
end
