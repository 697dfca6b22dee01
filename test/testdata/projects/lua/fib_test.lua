local fib = require("fib").fib
assert(fib(7) == 13)
