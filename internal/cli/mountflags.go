package cli

import "github.com/spf13/pflag"

// registerMounts adds the flags for what a container sees besides its image.
func (o *runOptions) registerMounts(f *pflag.FlagSet) {
	listFlag(f, &o.Volumes, "volume", "v", "mount a directory, a file or a volume: `[SOURCE:]TARGET[:OPTIONS]`; options are ro, rw, nocopy, U (give it to the container's user), and shared, slave, private and their r- forms")
	listFlag(f, &o.Mounts, "mount", "", "mount as `type=bind|volume|tmpfs|image,source=SOURCE,target=TARGET[,readonly,...]`")
	listFlag(f, &o.Tmpfs, "tmpfs", "", "mount an empty file system in memory: `TARGET[:size=64m,mode=1777,...]`")
	listFlag(f, &o.VolumesFrom, "volumes-from", "", "mount what another container mounts: `CONTAINER[:ro]`")
	f.Var(&o.shmSize, "shm-size", "`size` of /dev/shm, e.g. 128m")
}
