package peers

import "os"

// Objects is an object store of our own with Amazon's S3 protocol.
type Objects struct {
	// Endpoint is its address, Dir where it keeps its data.
	Endpoint, Dir string
	// ID and Secret are its owner's credentials.
	ID, Secret string
}

const objectsID, objectsSecret = "camada-test", "not-a-secret-of-anybody"

// StartVersity starts a versitygw over a directory, stops it at the end of the test.
func (p *Peers) StartVersity() Objects {
	p.t.Helper()
	return p.startObjects("versitygw", func(address, dir string) []string {
		return []string{"--access", objectsID, "--secret", objectsSecret, "--port", address, "--quiet", "--keep-alive", "posix", dir}
	})
}

// StartMinio starts a MinIO over a directory, stops it at the end of the test.
func (p *Peers) StartMinio() Objects {
	p.t.Helper()
	p.env = append(p.env, "MINIO_ROOT_USER="+objectsID, "MINIO_ROOT_PASSWORD="+objectsSecret, "MINIO_CI_CD=1", "MINIO_UPDATE=off", "MINIO_BROWSER=off", "HOME="+p.dir)
	return p.startObjects("minio", func(address, dir string) []string {
		return []string{"server", "--quiet", "--address", address, dir}
	})
}

func (p *Peers) startObjects(program string, args func(address, dir string) []string) Objects {
	p.t.Helper()
	address, dir := p.freeAddress(), p.Path(program)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		p.t.Fatal(err)
	}
	p.start("", listens(address), program, args(address, dir)...)
	return Objects{Endpoint: "http://" + address, Dir: dir, ID: objectsID, Secret: objectsSecret}
}
