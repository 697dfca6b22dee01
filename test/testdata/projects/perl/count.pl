#!/usr/bin/env perl
use strict;
use warnings;
use Count;

chomp(my @in = <STDIN>);
my $n = Count::lines(@in);
print "$_: $n->{$_}\n" for sort keys %$n;
