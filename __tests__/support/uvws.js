// What the tests of behaviour are about: this package. With UVWS_TEST_SUBJECT=ws they
// run against ws instead, which shows that what they expect is what ws does.

module.exports = process.env.UVWS_TEST_SUBJECT === 'ws' ? require('ws') : require('../..');
