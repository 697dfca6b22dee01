package remote_test

import (
	"net/http"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/opencontainers/go-digest"
)

func TestHistory(t *testing.T) {
	was, is := digest.FromString("was"), digest.FromString("is")
	answer := func(status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	for _, tc := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request) bool
		moves  int
		class  func(error) bool
	}{
		{"history", answer(200, `{"name":"app","tag":"1","history":[{"time":"2026-01-02T03:04:05Z","from":"`+string(was)+`","to":"`+string(is)+`","verb":"push","who":"m\u001be"}]}`), 1, nil},
		{"no digest", answer(200, `{"history":[{"time":"2026-01-02T03:04:05Z","to":"x"}]}`), 0, errdefs.IsCorrupt},
		{"no such tag", answer(404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such tag"}]}`), 0, errdefs.IsNotFound},
		{"another registry", answer(404, "404 page not found\n"), 0, errdefs.IsUnsupported},
		{"one that knows no such name", answer(404, `{"errors":[{"code":"NAME_UNKNOWN"}]}`), 0, errdefs.IsUnsupported},
		{"one that answers whatever", answer(200, "<html>hello</html>"), 0, errdefs.IsUnsupported},
		{"one that does not like the method", answer(405, ""), 0, errdefs.IsUnsupported},
		{"forbidden", answer(403, `{"errors":[{"code":"DENIED","message":"not yours"}]}`), 0, errdefs.IsPermission},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reg := remotetest.Start(t)
			reg.Before = tc.answer
			moves, err := client(t, remote.Options{}).Repository(reg.Ref("app")).History(t.Context(), "1")
			if len(moves) != tc.moves || (err == nil) != (tc.class == nil) || err != nil && !tc.class(err) {
				t.Errorf("%v, %v", moves, err)
			}
			if tc.moves > 0 && (moves[0].From != was || moves[0].To != is || moves[0].Who != "me" || moves[0].Verb != "push" || moves[0].Time.Year() != 2026) {
				t.Errorf("%+v", moves)
			}
		})
	}
}

func TestMoveBack(t *testing.T) {
	was, is := digest.FromString("was"), digest.FromString("is")
	for _, tc := range []struct {
		now    digest.Digest
		status int
		class  func(error) bool
	}{
		{is, 200, nil}, {"", 200, nil}, {is, 412, errdefs.IsConflict}, {is, 409, errdefs.IsConflict}, {is, 403, errdefs.IsPermission}, {is, 503, errdefs.IsUnavailable},
	} {
		reg := remotetest.Start(t)
		reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
			want, not := `"`+string(is)+`"`, ""
			if tc.now == "" {
				want, not = "", "*"
			}
			if r.Method == http.MethodPost && (r.URL.Query().Get("to") != string(was) || r.Header.Get("If-Match") != want || r.Header.Get("If-None-Match") != not) {
				t.Errorf("%s %v", r.URL, r.Header)
			}
			w.WriteHeader(tc.status)
			return true
		}
		err := client(t, remote.Options{}).Repository(reg.Ref("app")).MoveBack(t.Context(), "1", was, tc.now)
		if (err == nil) != (tc.class == nil) || err != nil && !tc.class(err) {
			t.Errorf("%d: %v", tc.status, err)
		}
		if n := len(reg.Calls("POST")); n != 1 {
			t.Errorf("%d: it was asked %d times", tc.status, n)
		}
	}
}
