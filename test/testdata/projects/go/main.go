package main

import (
	"fmt"

	"rsc.io/quote/v3"
)

var version = "dev"

func main() { fmt.Println(version, quote.GoV3()) }
