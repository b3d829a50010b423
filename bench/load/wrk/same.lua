-- The same request again and again; headers come from the command line.
package.path = package.path .. ";" .. os.getenv("BENCH_WRK") .. "/?.lua"
require("report")
