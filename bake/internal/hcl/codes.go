package hcl

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"

	"github.com/camada/camada/errdefs"
)

// coded are the functions that encode, decode and hash.
func coded(name string) Func {
	switch name {
	case "urlencode":
		return text1(url.QueryEscape)
	case "base64encode":
		return text1(func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) })
	case "base64decode":
		return func(args []any) (any, error) {
			s, err := texts(args, 1, 1)
			if err != nil {
				return nil, err
			}
			b, err := base64.StdEncoding.DecodeString(s[0])
			if err != nil {
				return nil, errdefs.Invalid("base64decode: %w", err)
			}
			return string(b), nil
		}
	case "jsonencode":
		return func(args []any) (any, error) {
			if err := count(args, 1, 1); err != nil {
				return nil, err
			}
			b, err := json.Marshal(args[0])
			return string(b), err
		}
	case "jsondecode":
		return func(args []any) (any, error) {
			s, err := texts(args, 1, 1)
			if err != nil {
				return nil, err
			}
			var v any
			if err := json.Unmarshal([]byte(s[0]), &v); err != nil {
				return nil, errdefs.Invalid("jsondecode: %w", err)
			}
			return v, nil
		}
	case "md5":
		return hashed(func(b []byte) []byte { s := md5.Sum(b); return s[:] })
	case "sha1":
		return hashed(func(b []byte) []byte { s := sha1.Sum(b); return s[:] })
	case "sha256":
		return hashed(func(b []byte) []byte { s := sha256.Sum256(b); return s[:] })
	case "sha512":
		return hashed(func(b []byte) []byte { s := sha512.Sum512(b); return s[:] })
	}
	return nil
}

// hashed is the hexadecimal sum of a string.
func hashed(sum func([]byte) []byte) Func {
	return text1(func(s string) string { return hex.EncodeToString(sum([]byte(s))) })
}
