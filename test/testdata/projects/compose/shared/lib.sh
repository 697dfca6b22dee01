greet() { echo "$1 from the shared image"; }
