/^# / { print "<h1>" substr($0, 3) "</h1>"; next }
/^- / { print "<li>" substr($0, 3) "</li>"; next }
NF { print "<p>" $0 "</p>" }
