package api_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// requirements are what the distribution-spec 1.1 requires of a registry (MUST and SHOULD), by its sections, in their order and in its words,
// and the test that holds us to it. Each of these tests runs on every driver, and names the section.
var requirements = []struct {
	section, text string
	test          func(*testing.T)
}{
	{"Requirements", "All registries conforming to this specification MUST support, at a minimum, all APIs in the **Pull** category", TestPullManifest},
	{"Requirements", "Registries SHOULD also support the **Push**, **Content Discovery**, and **Content Management** categories", TestDelete},
	{"Pulling manifests", "MUST be either (a) the digest of the manifest or (b) a tag", TestPullManifest},
	{"Pulling manifests", "The `<tag-or-digest>` MUST NOT be in any other format", TestPullManifest},
	{"Pulling manifests", "`<name>` MUST match the following regular expression", TestPullManifest},
	{"Pulling manifests", "as a tag MUST be at most 128 characters in length", TestPullManifest},
	{"Pulling manifests", "The registry SHOULD NOT include parameters on the `Content-Type` header", TestPushManifest},
	{"Pulling manifests", "The `Content-Type` header SHOULD match what the client", TestPullManifest},
	{"Pulling manifests", "MUST provide the expected manifest, with a response code that MUST be `200 OK`", TestPullManifest},
	{"Pulling manifests", "MUST contain the digest of the uploaded blob in the header `Docker-Content-Digest`", TestPullManifest},
	{"Pulling manifests", "If the manifest is not found in the repository, the response code MUST be `404 Not Found`", TestPullManifest},
	{"Pulling blobs", "MUST provide the expected blob, with a response code that MUST be `200 OK`", TestPullBlob},
	{"Pulling blobs", "MUST contain the digest of the uploaded blob in the header `Docker-Content-Digest`", TestPullBlob},
	{"Pulling blobs", "the value of this header MUST be a digest matching that of the response body", TestPullBlob},
	{"Pulling blobs", "If the blob is not found in the repository, the response code MUST be `404 Not Found`", TestPullBlob},
	{"Pulling blobs", "A registry SHOULD support the `Range` request header", TestRange},
	{"Checking if content exists in the registry", "A HEAD request to an existing blob or manifest URL MUST return `200 OK`", TestPullManifest},
	{"Checking if content exists in the registry", "A HEAD request to an existing blob or manifest URL MUST return `200 OK`", TestPullBlob},
	{"Checking if content exists in the registry", "MUST contain the digest of the uploaded blob or manifest in the header `Docker-Content-Digest`", TestPullManifest},
	{"Checking if content exists in the registry", "MUST contain the size in bytes of the uploaded blob or manifest in the header `Content-Length`", TestPullBlob},
	{"Checking if content exists in the registry", "If the blob or manifest is not found in the repository, the response code MUST be `404 Not Found`", TestPullBlob},
	{"Push", "A registry MUST initially accept an otherwise valid manifest with a `subject` field that references a manifest that does not exist", TestReferrersDescriptors},
	{"Push", "it MUST result in one or more `MANIFEST_BLOB_UNKNOWN` errors", TestPushManifest},
	{"Pushing blobs", "the registry SHOULD respond with a response code `400 Bad Request`", TestPostPut},
	{"POST then PUT", "the response MUST have a code of `202 Accepted`, and MUST include the following header", TestPostPut},
	{"POST then PUT", "MUST contain a UUID representing a unique session ID", TestPostPut},
	{"POST then PUT", "the response MUST have code `201 Created` and MUST have the following header", TestPostPut},
	{"Single POST", "the `<digest>` MUST match the blob's digest", TestSinglePost},
	{"Single POST", "MUST return a `201 Created` and MUST include the following header", TestSinglePost},
	{"Pushing a blob in chunks", "the post request SHOULD include the `digest-algorithm` parameter", TestAlgorithms},
	{"Pushing a blob in chunks", "If the registry has a minimum chunk size, the `POST` response SHOULD include the following header", TestChunks},
	{"Pushing a blob in chunks", "The first chunk's range MUST begin with `0`", TestChunks},
	{"Pushing a blob in chunks", "It MUST match the following regular expression", TestChunks},
	{"Pushing a blob in chunks", "The response for each successful chunk upload MUST be `202 Accepted`, and MUST have the following headers", TestChunks},
	{"Pushing a blob in chunks", "If a chunk is uploaded out of order, the registry MUST respond with a `416 Requested Range Not Satisfiable` code", TestChunks},
	{"Pushing a blob in chunks", "The response to a successful closing of the session MUST be `201 Created`, and MUST contain the following header", TestChunks},
	{"Pushing a blob in chunks", "If the final chunk is uploaded out of order, the registry MUST respond with a `416 Requested Range Not Satisfiable` code", TestChunks},
	{"Pushing a blob in chunks", "MUST be a `204 No Content` response code, and MUST have the following headers", TestChunks},
	{"Cancel a blob upload", "If successful, the response SHOULD be a `204 No Content` response code", TestCancel},
	{"Cancel a blob upload", "the server SHOULD eventually timeout unfinished uploads", TestUploadsEnd},
	{"Mounting a blob from another repository", "The response to a successful mount MUST be `201 Created`, and MUST contain the following header", TestMount},
	{"Mounting a blob from another repository", "is unable to mount the requested blob, it SHOULD return a `202`", TestMount},
	{"Pushing Manifests", "The registry SHOULD ignore parameters on the `Content-Type` header", TestPushManifest},
	{"Pushing Manifests", "the `<tag-or-digest>` MUST be either a) a digest or b) a tag", TestPushManifest},
	{"Pushing Manifests", "The registry MUST store the manifest in the exact byte representation provided by the client", TestPushManifest},
	{"Pushing Manifests", "the registry MUST return response code `201 Created`, and MUST have the following header", TestPushManifest},
	{"Pushing Manifests", "MUST be equal to the client provided digest", TestAlgorithms},
	{"Pushing Manifests", "SHOULD support pushing at least 10 tags per request", TestPushManifest},
	{"Pushing Manifests", "MUST include an `OCI-Tag` response header", TestPushManifest},
	{"Pushing Manifests", "An attempt to pull a nonexistent repository MUST return response code `404 Not Found`", TestPushManifest},
	{"Pushing Manifests", "A registry SHOULD enforce some limit on the maximum manifest size that it can accept", TestPushManifest},
	{"Pushing Manifests", "SHOULD respond to a request to push a manifest over this limit with a response code `413 Payload Too Large`", TestPushManifest},
	{"Pushing Manifests", "SHOULD expect to be able to support manifest pushes of at least 4 megabytes", TestPushManifest},
	{"Pushing Manifests with Subject", "MUST respond with the response header `OCI-Subject: <subject digest>`", TestReferrers},
	{"Listing Tags", "Assuming a repository is found, this request MUST return a `200 OK` response code", TestListTags},
	{"Listing Tags", "the tags MUST be in lexical (i.e. case-insensitive alphanumeric order) or \"ASCIIbetical\"", TestListTags},
	{"Listing Tags", "Upon success, the response MUST be a json body in the following format", TestListTags},
	{"Listing Tags", "Otherwise, the response MUST include `<int>` results", TestListTags},
	{"Listing Tags", "the `Link` header MUST be set according to", TestListTags},
	{"Listing Tags", "When `n` is zero, this endpoint MUST return an empty list, and MUST NOT include a `Link` header", TestListTags},
	{"Listing Tags", "The tags MUST be in lexical or \"ASCIIbetical\" order", TestListTags},
	{"Listing Referrers", "Assuming a repository is found, this request MUST return a `200 OK` response code", TestReferrers},
	{"Listing Referrers", "the registry MUST NOT return a `404 Not Found` to a referrers API requests", TestReferrers},
	{"Listing Referrers", "such as a `<digest>` with an invalid syntax, a `400 Bad Request` MUST be returned", TestReferrers},
	{"Listing Referrers", "the response MUST be a JSON body with an image index containing a list of descriptors", TestReferrers},
	{"Listing Referrers", "The `Content-Type` header MUST be set to `application/vnd.oci.image.index.v1+json`", TestReferrers},
	{"Listing Referrers", "The descriptors MUST include an `artifactType` field", TestReferrersDescriptors},
	{"Listing Referrers", "the value of `artifactType` MUST be set to the config descriptor `mediaType` value", TestReferrersDescriptors},
	{"Listing Referrers", "If the `artifactType` is empty or missing in an index, the `artifactType` MUST be omitted", TestReferrersDescriptors},
	{"Listing Referrers", "The descriptors MUST include annotations from the image manifest or index", TestReferrersDescriptors},
	{"Listing Referrers", "If a query results in no matching referrers, an empty manifest list MUST be returned", TestReferrers},
	{"Listing Referrers", "A `Link` header MUST be included in the response when the descriptor list cannot be returned in a single manifest", TestReferrersPages},
	{"Listing Referrers", "The `Link` header MUST be set according to", TestReferrersPages},
	{"Listing Referrers", "The registry SHOULD support filtering on `artifactType`", TestReferrers},
	{"Listing Referrers", "the response MUST include a header `OCI-Filters-Applied: artifactType`", TestReferrersPages},
	{"Deleting tags", "Upon success, the registry MUST respond with a `202 Accepted` code", TestDelete},
	{"Deleting Manifests", "Upon success, the registry MUST respond with a `202 Accepted` code", TestDelete},
	{"Deleting Manifests", "If the repository does not exist, the response MUST return `404 Not Found`", TestDelete},
	{"Deleting Blobs", "Upon success, the registry MUST respond with code `202 Accepted`", TestDelete},
	{"Deleting Blobs", "If the blob is not found, a `404 Not Found` code MUST be returned", TestDelete},
	{"Registry Proxying", "A registry that uses the `ns` query parameter to scope the request SHOULD return", TestNamespace},
	{"Enabling the Referrers API", "Registries MUST include preexisting image manifests that are listed in an image index tagged with the", TestReferrersTagSchema},
	{"Enabling the Referrers API", "Registries MUST include all newly pushed image manifests with a valid `subject` field", TestReferrersTagSchema},
	{"API", "implementations SHOULD follow the HTTP semantics defined in", TestConditions},
	{"Determining Support", "If the response is `200 OK`, then the registry implements this specification", TestSupport},
	// Each answer of all tests is held to these: see form.
	{"Error Codes", "If the response body is in JSON format, it MUST\nhave the following format", TestHeadersOfErrors},
	{"Error Codes", "The `code` field MUST be a unique identifier, containing only uppercase alphabetic characters and underscores", TestHeadersOfErrors},
	{"Error Codes", "The `code` field MUST be one of the following", TestHeadersOfErrors},
	{"Error Codes", "SHOULD include a `Retry-After` header", TestRights},
	{"Warnings", "A registry MUST NOT send more than 4096 bytes of warning data from all headers combined", TestHeadersOfErrors},
}

// TestSpecification looks whether each requirement has a test that runs on every driver and names the section.
func TestSpecification(t *testing.T) {
	if drivers["local"] == nil || drivers["s3"] == nil {
		t.Error("a driver is missing")
	}
	tests := sources(t)
	for _, r := range requirements {
		full := runtime.FuncForPC(reflect.ValueOf(r.test).Pointer()).Name()
		name := full[strings.LastIndexByte(full, '.')+1:]
		text, ok := tests[name]
		switch {
		case !ok:
			t.Errorf("%s: there is no test %s", r.section, name)
		case !strings.Contains(text, `"`+r.section+`"`):
			t.Errorf("%s does not name the section %q", name, r.section)
		case !strings.Contains(text, "\teach(t, "):
			t.Errorf("%s does not run on every driver", name)
		}
	}
}

// sources returns the texts of this package's tests with their comments, by name.
func sources(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]string)
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, name, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil {
				continue
			}
			from := f.Pos()
			if f.Doc != nil {
				from = f.Doc.Pos()
			}
			tests[f.Name.Name] = string(text[files.Position(from).Offset:files.Position(f.End()).Offset])
		}
	}
	return tests
}
