package attest

import "strings"

// spdxLicenses are the identifiers that are taken over as they are: the common ones of the SPDX license list. What is not among
// them is told in words, because a document with an unknown identifier is not valid.
const spdxLicenses = " 0BSD AFL-2.1 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 Artistic-1.0 Artistic-1.0-Perl Artistic-2.0 " +
	"BSD-1-Clause BSD-2-Clause BSD-3-Clause BSD-4-Clause BSD-4-Clause-UC BSL-1.0 bzip2-1.0.6 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 " +
	"CC0-1.0 CDDL-1.0 curl EPL-1.0 EPL-2.0 FSFAP FSFUL FSFULLR FTL GFDL-1.1-or-later GFDL-1.2-or-later GFDL-1.3-only GFDL-1.3-or-later GPL-1.0-only " +
	"GPL-1.0-or-later GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later ICU IJG ISC LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1-only " +
	"LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later Libpng libtiff MIT MIT-0 MPL-1.1 MPL-2.0 MS-PL NCSA OFL-1.1 OLDAP-2.8 OpenSSL PHP-3.01 " +
	"PSF-2.0 Python-2.0 Ruby Sleepycat TCL Unicode-DFS-2016 Unlicense Vim W3C WTFPL X11 Zlib ZPL-2.1 "

// debianNames are Debian's short names (copyright-format 1.0, "License short name") that are written another way in SPDX.
const debianNames = " Expat=MIT BSD-2-clause=BSD-2-Clause BSD-3-clause=BSD-3-Clause BSD-4-clause=BSD-4-Clause GPL-1=GPL-1.0-only GPL-1+=GPL-1.0-or-later " +
	"GPL-2=GPL-2.0-only GPL-2+=GPL-2.0-or-later GPL-2.0=GPL-2.0-only GPL-2.0+=GPL-2.0-or-later GPL-3=GPL-3.0-only GPL-3+=GPL-3.0-or-later GPL-3.0+=GPL-3.0-or-later " +
	"LGPL-2=LGPL-2.0-only LGPL-2+=LGPL-2.0-or-later LGPL-2.0+=LGPL-2.0-or-later LGPL-2.1=LGPL-2.1-only LGPL-2.1+=LGPL-2.1-or-later LGPL-3=LGPL-3.0-only LGPL-3+=LGPL-3.0-or-later " +
	"AGPL-3=AGPL-3.0-only AGPL-3+=AGPL-3.0-or-later GFDL-1.2+=GFDL-1.2-or-later GFDL-1.3+=GFDL-1.3-or-later Artistic=Artistic-1.0-Perl Zlib=Zlib "

// expression turns what a package says of its licence into an SPDX expression (SPDX specification, annex D); false
// when some of it has no identifier that is known here.
func expression(s string) (string, bool) {
	words := strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(s))
	var out []string
	depth, wantName := 0, true
	for _, w := range words {
		switch upper := strings.ToUpper(w); {
		case w == "(" && wantName:
			depth++
		case w == ")" && !wantName && depth > 0:
			depth--
		case (upper == "AND" || upper == "OR") && !wantName:
			w, wantName = upper, true
		case wantName:
			id, ok := identifier(w)
			if !ok {
				return "", false
			}
			w, wantName = id, false
		default:
			return "", false
		}
		out = append(out, w)
	}
	if depth != 0 || wantName {
		return "", false
	}
	return strings.NewReplacer("( ", "(", " )", ")").Replace(strings.Join(out, " ")), true
}

func identifier(w string) (string, bool) {
	if strings.Contains(spdxLicenses, " "+w+" ") {
		return w, true
	}
	if _, rest, ok := strings.Cut(debianNames, " "+w+"="); ok {
		id, _, _ := strings.Cut(rest, " ")
		return id, true
	}
	return "", false
}
