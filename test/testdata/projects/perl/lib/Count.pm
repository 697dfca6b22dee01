package Count;

use strict;
use warnings;

sub lines {
    my %n;
    $n{$_}++ for @_;
    return \%n;
}

1;
