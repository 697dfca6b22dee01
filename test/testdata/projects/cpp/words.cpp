#include <fstream>
#include <iostream>
#include <map>
#include <string>

int main(int, char **argv) {
	std::ifstream in(argv[1]);
	std::map<std::string, int> count;
	for (std::string w; in >> w;)
		count[w]++;
	for (const auto &[w, n] : count)
		std::cout << w << "=" << n << " ";
	std::cout << std::endl;
}
