const isNumber = require('is-number');
console.log('user', process.getuid(), isNumber('5e3'), isNumber('five'));
