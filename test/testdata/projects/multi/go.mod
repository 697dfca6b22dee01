module example.org/which

go 1.22
