package main

import "runtime"

func main() { println("made for", runtime.GOARCH) }
