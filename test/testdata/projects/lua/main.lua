print("fib", require("fib").fib(tonumber(arg[1])))
