package test

// verbScript is one script of TestVerbsAsDocker. Each ends with no container.
type verbScript struct {
	name, text string
	long       bool
}

// verbScripts: D is the program; E runs it and tells its exit code, how much it wrote to standard output, and whether it said something on
// standard error.
func verbScripts() []verbScript {
	return []verbScript{
		{"life", `
D create --name cc --network none img:1 sh -c 'echo out; echo err >&2; exit 3'; D start cc; D wait cc; D start -a cc 2>/dev/null; echo $?; D logs cc 2>err; cat err
D restart -t 1 cc; D wait cc; D rm cc; echo $?
D run -d --name cc --network none img:1; D stop -t 1 cc; D inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Running}}' cc; D stop cc; echo $?
D start cc; D kill cc; D wait cc; D start cc; D kill -s TERM cc; D kill -s 9 cc; D wait cc; D rm cc
D run -d --name cc --network none img:1; D rm -f cc; E rm -f nosuch; D ps -aq`, false},
		{"mistakes of names", `
for v in start stop restart kill rm wait logs top port pause unpause attach diff export update; do
  args=; case $v in update) args='-m 64m' ;; esac
  echo "$v: $(E $v $args nosuch)"
done
E exec nosuch true; E inspect nosuch >/dev/null; E rename nosuch x; E cp nosuch:/x .; E commit nosuch; E volume rm nosuch; E network rm nosuch; E network connect nosuch nosuch`, false},
		{"mistakes of states", `
D create --name cc --network none img:1 >/dev/null
for v in pause unpause kill top attach; do echo "$v: $(E $v cc)"; done; E exec cc true; D wait cc; D stop cc
D start cc; E unpause cc; E rm cc; D start cc; E create --name cc img:1; E rename cc cc
D pause cc; E pause cc; E exec cc true; E start cc; D restart -t 1 cc; E kill -s NOSUCH cc; E port cc 99; D rm -f cc`, false},
		{"mistakes of use", `
for v in 'rm --nosuch' 'ps --nosuch' 'kill --nosuch' 'exec --nosuch' 'volume create --nosuch'; do echo "$v: $(E $v | cut -d, -f1,3)"; done; E ps --filter nosuch=x`, false},
		{"ps", `
D create --name one --network none -l kind=web -l n=1 img:1 true >/dev/null; D run --name two --network none -l kind=db img:1 sh -c 'exit 3'; D run -d --name three --network none img:1 >/dev/null
f='{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Label "kind"}} {{.Networks}} {{.LocalVolumes}} {{.Ports}}'
D ps --format "$f"; D ps -a --format "$f"; D ps -a --no-trunc --format '{{.Command}}'; D ps -a --format 'table {{.ID}}\t{{.Names}}\t{{.State}}\t{{.LocalVolumes}}' | sed 's/  */ /g'
for f in name=t name=^/two status=exited status=created exited=3 label=kind label=kind=db label=a=1 before=three since=one ancestor=img:1 network=none health=none volume=/image; do echo "== $f"; D ps -a --filter $f --format '{{.Names}}'; done
D ps -n 2 --format '{{.Names}}'; D ps -l --format '{{.Names}}'; D ps -aq | wc -l; D ps | sed '2,$d;s/  */ /g'
D container prune -f --filter label=kind=db | sed 's/: .*//'; D rm -f -v one three >/dev/null; D ps -aq`, false},
		{"pause", `
D run -d --name cc --network none img:1 >/dev/null
D pause cc; D ps --format '{{.State}} {{.Names}}'; D inspect -f '{{.State.Status}} {{.State.Paused}} {{.State.Running}}' cc
D unpause cc; D pause cc; D stop -t 1 cc; D inspect -f '{{.State.Status}} {{.State.ExitCode}}' cc; D rm -v cc`, false},
		{"rename", `
D create --name aa --network none img:1 >/dev/null; D create --name bb --network none img:1 >/dev/null
D rename aa cc; D ps -a --format '{{.Names}}' | sort; E rename bb cc; D rm -v bb cc`, false},
		{"top", `
D run -d --name cc --network none img:1 >/dev/null
D top cc | sed 's/  */ /g' | cut -d' ' -f1,8-; D top cc -o pid,comm | sed 's/^[0-9]* */PID /;s/  */ /g'; E top cc -o comm; D rm -f -v cc`, false},
		{"exec", `
D run -d --name cc --network none -e A=1 -w /tmp -u app img:1 >/dev/null
D exec cc sh -c 'echo $A $B $IN $HOME $(pwd); id'; D exec -u root -w /srv -e B=2 cc sh -c 'echo $A $B $HOME $(pwd); id'; echo in | D exec -i cc cat; D exec cc cat </dev/null
D exec cc sh -c 'exit 7'; echo $?; D exec cc sh -c 'kill -9 $$'; echo $?; D exec cc /etc/passwd >/dev/null 2>&1; echo $?
D exec -d cc sh -c 'echo x > /tmp/made'; echo $?; for i in 1 2 3 4 5 6 7 8 9; do D exec cc test -e /tmp/made && break; sleep 0.1; done; echo C=3 > vars; D exec --env-file vars cc sh -c 'echo $C'
D exec -w /nosuch cc pwd >/dev/null 2>&1; echo $?; D exec -u nosuch cc true >/dev/null 2>&1; echo $?; D rm -f -v cc`, false},
		{"update", `
D run -d --name cc --network none -m 64m img:1 >/dev/null; D update -m 96m --memory-swap 128m --cpu-shares 512 --pids-limit 33 --restart on-failure:2 cc
D inspect -f '{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.CpuShares}} {{.PidsLimit}} {{.RestartPolicy.Name}}:{{.RestartPolicy.MaximumRetryCount}}{{end}}' cc
for a in '-m 1m' '-m 256m' '--cpus 1' '--cpu-period 10' '--cpu-period 50000'; do D update $a cc 2>/dev/null; echo $?; done; D rm -f -v cc`, false},
		{"volumes", `
D volume create --label a=1 data; D volume create -o type=tmpfs -o device=tmpfs -o o=size=1m mem; D volume create data; D volume create | wc -c
D volume ls -q --filter label=a; D volume ls --filter name=dat --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}}'; D volume ls --filter name=mem | sed 's/  */ /g'
D volume inspect -f '{{.Name}} {{.Driver}} {{.Labels.a}} {{.Scope}}' data; D volume inspect -f '{{json .Options}}' mem
D create --name cc --network none -v data:/data -v /anon img:1 >/dev/null; E volume rm data; D volume ls -q --filter dangling=false | sed 's/^[0-9a-f]*$/ID/;s/data/volume data/' | sort
D rm -v cc; D volume rm data mem; E volume inspect data >/dev/null; D volume rm -f nosuch; echo $?; E volume create -o nosuch=1 x; D volume prune -f | head -1; D volume ls -q`, false},
		{"wait", `
D run -d --name aa --network none img:1 sh -c 'sleep 0.3; exit 5' >/dev/null; D run -d --name bb --network none img:1 sh -c 'exit 6' >/dev/null; D wait aa bb; D rm -v aa bb`, false},
		{"logs", `
D run --name cc --network none img:1 sh -c 'for i in 1 2 3; do echo $i; done' >/dev/null; D logs cc; D logs -n 2 cc; D logs --since 1h cc 2>/dev/null | wc -l; D logs --until 1h cc 2>&1
D logs -t cc 2>/dev/null | grep -c '^20..-..-..T..:..:..\.[0-9]*Z [0-9]$'; D rm -v cc`, false},
		{"cp in", `
mkdir w; D run -d --name cc --network none -v $PWD/w:/w img:1 >/dev/null
for pair in f:new f:dir f:none/x d:new d:dir d:file d/.:dir link:new f/:new nosuch:new f:flink; do
  mkdir w/dir; echo old > w/file; ln -s dir/t w/flink
  echo "== $pair"; D cp in/${pair%:*} cc:/w/${pair#*:} >/dev/null 2>&1; echo $?; (cd w; find . | sort | while read n; do stat -c "%n %F %a %u:%g" $n; done); rm -r w/*
done; D rm -f -v cc`, true},
		{"cp out", `
D create --name cc --network none img:1 >/dev/null; D cp in/. cc:/in 2>/dev/null
for pair in f:new f:dir f:none/x d:new d:dir d:file d/.:dir link:new nosuch:new; do
  mkdir w w/dir; echo old > w/file
  echo "== $pair"; D cp cc:/in/${pair%:*} w/${pair#*:} >/dev/null 2>&1; echo $?; (cd w; find . | sort | while read n; do stat -c "%n %F %a %u:%g" $n; done); rm -r w
done; D rm -v cc`, true},
		{"cp tar", `
D create --name cc --network none img:1 >/dev/null; D cp in/d cc:/tmp 2>/dev/null
D cp cc:/tmp/d - | tar -t; D cp cc:/tmp/d/a - | tar -t
tar -C in -c d | D cp - cc:/srv; echo $?; D cp cc:/srv - | tar -t; tar -C in -c d | D cp - cc:/nosuch 2>/dev/null; echo $?; D rm -v cc`, false},
		{"diff", `
D run --name cc --network none img:1 sh -c 'echo x > /new; mkdir -p /srv/a/b; rm /etc/group; echo y >> /etc/passwd'
D diff cc | sort; D rm -v cc`, false},
		{"export", `
D run --name cc --network none img:1 sh -c 'echo x > /new; mkdir /srv/a'
D export cc | tar -t | grep -v -e '^dev' -e '^proc' -e '^sys' -e dockerenv -e mtab | sed 's|^\./||;/^$/d' | sort; D rm -v cc`, false},
		{"commit", `
D run --name cc --network none -e NEW=1 -e IN=user -u app -w /tmp -l b=2 img:1 sh -c 'echo x > /tmp/new'
D commit -a 'A <a@x>' -m 'my message' -c 'EXPOSE 80' -c 'CMD ["env"]' -c 'ENV MORE=1' -c 'WORKDIR /srv' -c 'USER root' cc made:1 >/dev/null
D inspect -f '{{.Author}}|{{.Comment}}|{{json .Config.Cmd}}|{{json .Config.Entrypoint}}|{{json .Config.ExposedPorts}}|{{json .Config.Labels}}|{{.Config.User}}|{{.Config.WorkingDir}}|{{len .RootFS.Layers}}' made:1
D inspect -f '{{range .Config.Env}}{{println .}}{{end}}' made:1 | sort; D history --no-trunc --format '{{.CreatedBy}}|{{.Comment}}' made:1 | head -1; D commit cc made:2 >/dev/null; D inspect -f '{{json .Config.Cmd}} {{.Config.User}} {{.Config.WorkingDir}}' made:2
D run --rm --network none made:1 sort /tmp/new; D rm -v cc; D rmi made:1 made:2 >/dev/null`, false},
	}
}
