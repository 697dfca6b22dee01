echo "the tool says $(cat "$(dirname "$0")/data.txt")"
