. /lib/lib.sh
greet hello
